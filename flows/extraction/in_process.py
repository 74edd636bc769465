"""Extraction by commands without a Prefect server, in worker processes of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reeldex.flows.execution.worker_processes import WorkerProcesses
from reeldex.flows.extraction.run import run_prepared
from reeldex.flows.progress.sinks import progress_bar

if TYPE_CHECKING:
    from reeldex.flows.config.pipeline import WhenBusy
    from reeldex.flows.extraction.prepare import PreparedRun
    from reeldex.flows.extraction.run_report import RunReport


def run_here(prepared: PreparedRun, when_busy: WhenBusy, wait_seconds: float) -> RunReport:
    """Run a prepared extraction, with progress as a bar or log lines. Raises what `run_prepared` does.

    A run that has nothing to do waits for no other run of the store.
    """
    report = prepared.report_if_nothing_to_do()
    if report is not None:
        return report
    name = f"on {prepared.store_folder.name or prepared.store_folder}"
    with progress_bar():
        return run_prepared(prepared, WorkerProcesses(name), when_busy, wait_seconds)
