"""A worker of a cluster, without one: in a process of its own, since it takes over the process's log and cores."""

from __future__ import annotations

import subprocess
import sys

_LEAVES = """
from reeldex.flows.execution.remote_worker import RemoteWorker


class Leaves:
    number = 0

    def __call__(self, device, on_event):
        raise SystemExit(3)


*_, last = [message for batch in RemoteWorker(0, 10_000).run(Leaves(), "cpu") for message in batch]
print(type(last).__name__, type(last.error).__name__, last.error)
"""


def test_a_job_that_exits_is_a_failure_and_leaves_nobody_waiting() -> None:
    answer = subprocess.run([sys.executable, "-c", _LEAVES], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == "Failure InternalError A job ended its worker: SystemExit(3)\n"
