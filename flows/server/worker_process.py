"""The worker of `reeldex up` and `reeldex worker`: `python -m reeldex.flows.server.worker_process --limit N`.

It differs from `prefect worker start` in three ways. Its name tells its host and process, so that runs that it had
taken when it ended are found. It starts runs with its own Python, in the folder in which it was started. And it reports
the death of a run once: Prefect's worker does so twice, seconds apart, and the second report would end a retry.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from reeldex.flows.runs.lost_runs import worker_name
from reeldex.flows.runs.names import WORK_POOL
from reeldex.flows.server.job_template import run_command
from reeldex.storage.process_id import own_process

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


class OwnPythonConfiguration(ProcessJobConfiguration):
    """How a run is started: with this Python, in the current folder, whatever the run's creator has set."""

    def prepare_for_flow_run(self, flow_run: FlowRun, *more: Any, **named: Any) -> None:  # noqa: ANN401 - as the base class takes them
        """Set the command and the folder, and what the base class sets."""
        self.command, self.working_dir = run_command(), Path.cwd()
        super().prepare_for_flow_run(flow_run, *more, **named)


class HostWorker(ProcessWorker):
    """A worker for runs of reeldex on this host."""

    job_configuration = OwnPythonConfiguration

    @classmethod
    def __dispatch_key__(cls) -> str:
        """Return a key of its own: Prefect's `process` stays what it is."""
        return "reeldex-process"

    async def run(self, *arguments: Any, **named: Any) -> ProcessWorkerResult:  # noqa: ANN401 - as the base class takes them
        """Run a flow in a process. A status other than 0 has been reported when this returns."""
        result = await super().run(*arguments, **named)
        return result.model_copy(update={"status_code": 0})


def main() -> None:
    """Execute runs of our pool until SIGINT or SIGTERM comes; both end its runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--limit", required=True, type=int, help="runs at a time")
    arguments = parser.parse_args()
    # A shell starts background processes with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    worker = HostWorker(work_pool_name=WORK_POOL, name=worker_name(own_process()), limit=arguments.limit)
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(worker.start())


if __name__ == "__main__":
    main()
