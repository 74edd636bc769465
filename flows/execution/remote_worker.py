"""A worker on another machine: runs one job at a time, and streams its events and log in batches."""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from reeldex.devices import usable_cores
from reeldex.flows.execution.errors import InternalError, as_our_error
from reeldex.flows.execution.jobs import Job
from reeldex.flows.execution.logs import forward_log
from reeldex.flows.execution.messages import Failure, LogEvent, Message, ProgressEvent, Result

# A message travels at once if none was sent before it for so long; the others of a job follow together.
_BATCH_SECONDS = 0.5


@dataclass(frozen=True)
class WorkerFacts:
    """What has to be equal on all machines of a run."""

    reeldex: str

    @classmethod
    def here(cls) -> WorkerFacts:
        """Return the facts of this process."""
        return cls(importlib.metadata.version("reeldex"))


class RemoteWorker:
    """The object that a cluster keeps in a process of its own: networks stay loaded between jobs.

    `index` counts the workers of the machine, each of which uses `cpus` of its cores.
    """

    def __init__(self, index: int, cpus: int) -> None:
        keep_to_cores(index, cpus)
        self._messages = SimpleQueue[Message]()
        forward_log(lambda record: self._messages.put(LogEvent(record)))
        # The same thread for all jobs: libraries keep state per thread.
        self._thread = ThreadPoolExecutor(1, "job")

    def facts(self) -> WorkerFacts:
        """Return the facts of this worker, once it has started."""
        return WorkerFacts.here()

    def run(self, job: Job, device: str) -> Iterator[list[Message]]:
        """Run a job, and yield its messages; the last one is its Result or Failure."""
        self._thread.submit(self._work, job, device)
        last = float("-inf")
        while True:
            batch = [self._messages.get()]
            until = last + _BATCH_SECONDS
            while not isinstance(batch[-1], Result | Failure):
                try:
                    batch.append(self._messages.get(timeout=max(0.0, until - time.monotonic())))
                except Empty:
                    break
            yield batch
            last = time.monotonic()
            if isinstance(batch[-1], Result | Failure):
                return

    def _work(self, job: Job, device: str) -> None:
        try:
            message: Message = Result(job(device, lambda event: self._messages.put(ProgressEvent(event))))
        except Exception as error:  # noqa: BLE001 - it is reported to the sender of the job
            message = Failure(as_our_error(error))
        except BaseException as error:  # noqa: BLE001 - as a library's sys.exit; the sender would wait forever
            message = Failure(InternalError(f"A job ended its worker: {error!r}"))
        self._messages.put(message)


def keep_to_cores(index: int, cpus: int) -> None:
    """Keep this process to its share of the machine's cores, if it is not the whole machine.

    Numbers of threads and of decoders follow from the cores that a process may use, which a cluster does not limit.
    """
    cores = sorted(os.sched_getaffinity(0))
    if cpus < min(len(cores), usable_cores()):
        first = index * cpus % len(cores)
        os.sched_setaffinity(0, [*cores, *cores][first : first + cpus])
