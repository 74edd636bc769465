"""Extraction by commands without a Prefect server, on the workers of the configured engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reeldex.flows.execution.engines import workers_of
from reeldex.flows.execution.thread_executor import ThreadExecutor
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
        executor = ThreadExecutor(workers_of(prepared.config.execution, name))
        return run_prepared(prepared, executor, when_busy, wait_seconds)
