"""Jobs that a Ray cluster of the tests runs, in a module that its workers can import."""

from __future__ import annotations

import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.errors import InfrastructureError, UsageError

if TYPE_CHECKING:
    from reeldex.flows.execution.jobs import OnEvent


@dataclass(frozen=True)
class Done:
    """Where a job ran: device, process, number of cores, and the GPUs that it saw."""

    device: str
    process: int
    cores: int
    gpus: str


@dataclass(frozen=True)
class ClusterJob:
    """A job that reports `events` events and a line of the log, and then does what `ending` says.

    `die` and `fail` do so until its file exists.
    """

    number: int
    file: Path
    ending: str = "return"
    events: int = 0

    def __call__(self, device: str, on_event: OnEvent) -> Done:
        for event in range(self.events):
            on_event(event)
        logging.getLogger("reeldex.test").info("100 %% of job %d", self.number)
        first = not self.file.exists()
        self.file.touch()
        if first and self.ending == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if first and self.ending == "fail":
            raise MemoryError("not yet")
        if self.ending == "refuse":
            raise UsageError("not like this")
        if self.ending == "bug":
            raise ZeroDivisionError
        if self.ending == "lose":
            raise InfrastructureError("the device is lost")
        if self.ending == "wait":
            time.sleep(600)  # time is tested: a job that does not end by itself
        if self.ending == "linger":
            time.sleep(1)  # time is tested: a job that takes a while
        return Done(device, os.getpid(), len(os.sched_getaffinity(0)), os.environ.get("CUDA_VISIBLE_DEVICES", ""))
