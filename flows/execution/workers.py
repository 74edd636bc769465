"""Long-lived worker processes, one per device: networks stay loaded, and a crash affects only the current job."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reeldex.errors import InfrastructureError
from reeldex.flows.execution.errors import RunStoppedError
from reeldex.flows.execution.logs import replay
from reeldex.flows.execution.messages import Failure, LogEvent, ProgressEvent, Result
from reeldex.flows.execution.worker_process import Request, work

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from reeldex.flows.execution.jobs import Job, OnEvent

log = logging.getLogger(__name__)

_STOPPED = "The run was stopped. Finished work is kept; run it again to continue."


class Worker:
    """One worker process, started on first use and restarted after it has died; `name` is its device's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.RLock()  # one thread runs a job, another may end the process meanwhile
        self._retired = False
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def run(self, job: Job, device: str, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the job is
        """Return the result of a job. `on_event` is called, and log records are handled, in the calling thread.

        Raises InfrastructureError when the process dies or its machine fails, UsageError and InternalError.
        """
        return self._ask(functools.partial(job, device), on_event)

    def devices(self, choice: str) -> tuple[str, ...]:
        """Return the devices that `choice` names on this machine. Raises UsageError if one is not available."""
        found: tuple[str, ...] = self._ask(functools.partial(_devices, choice), lambda _: None)
        return found

    @property
    def process_id(self) -> int | None:
        """The id of the process, None while it does not run."""
        return self._process.pid if self._process is not None else None

    def retire(self) -> None:
        """End the process permanently: current and later uses of this worker raise RunStoppedError."""
        self._retired = True
        self.kill()

    def kill(self) -> None:
        """Kill the process and its children."""
        with self._lock:
            process, self._process, self._connection = self._process, None, None
        if process is None or process.pid is None:
            return
        # Its group holds its ffmpeg processes too. Just started, it may not lead a group yet.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()

    def _ask(self, request: Request, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the request is
        try:
            answer = self._answer(request, on_event)
        except BaseException:
            self.kill()  # or the next request would receive the remaining messages of this one
            raise
        if isinstance(answer, Result):
            return answer.value
        if isinstance(answer.error, InfrastructureError):
            self.kill()  # state that a failure leaves behind, such as a lost device, ends with the process
        raise answer.error

    def _answer(self, request: Request, on_event: OnEvent) -> Result | Failure:
        with self._death_reported():
            connection = self._connected()
            connection.send(request)
        while True:
            with self._death_reported():
                message = connection.recv()
            match message:
                case ProgressEvent(event):
                    on_event(event)
                case LogEvent(record):
                    replay(record)
                case Result() | Failure():
                    return message

    @contextmanager
    def _death_reported(self) -> Iterator[None]:
        """Convert errors of the connection, which the end of the process causes."""
        try:
            yield
        except (EOFError, OSError) as error:
            if self._retired:
                raise RunStoppedError(_STOPPED) from None
            raise InfrastructureError(self._how_it_died()) from error

    def _connected(self) -> Connection:
        with self._lock:
            if self._retired:
                raise RunStoppedError(_STOPPED)
            if self._connection is not None and self._process is not None and self._process.is_alive():
                return self._connection
            self.kill()
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            name = f"reeldex worker {self.name}"
            self._process = context.Process(target=work, args=(theirs,), name=name, daemon=True)
            self._process.start()
            theirs.close()  # or the end of the worker would not close the connection here
            self._connection = ours
            return ours

    def _how_it_died(self) -> str:
        process = self._process
        if process is None:
            return f"The worker process of {self.name} was ended."
        process.join(5)
        code, pid = process.exitcode, process.pid
        self.kill()
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                how += " (by the system if memory ran out)"
        else:
            how = f"ended with exit status {code}"
        return f"The worker process {pid} of {self.name} {how}. Finished work is kept."


def _devices(choice: str, _: OnEvent) -> tuple[str, ...]:
    from reeldex.devices import usable_devices

    return usable_devices(choice)


class WorkerPool:
    """The workers of this process, by device; each runs one job at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._workers: dict[str, Worker] = {}
        self._lent: set[str] = set()
        self._devices: dict[str, tuple[str, ...]] = {}
        self._stopped = False

    def devices(self, choice: str) -> tuple[str, ...]:
        """Return the devices that `choice` names on this machine. Raises UsageError if one is not available."""
        if choice == "cpu":
            return ("cpu",)
        if choice not in self._devices:
            # Only a worker may load PyTorch; this one then becomes the worker of the first device.
            worker = Worker("the search for devices")
            self._devices[choice] = worker.devices(choice)
            worker.name = self._devices[choice][0]
            with self._changed:
                if self._workers.setdefault(self._devices[choice][0], worker) is not worker:
                    worker.retire()
        return self._devices[choice]

    @contextmanager
    def lend(self, choice: str) -> Iterator[tuple[str, Worker]]:
        """Return an idle device that `choice` names, and its worker, waiting for one if necessary.

        Raises RunStoppedError once the pool is stopped.
        """
        devices = self.devices(choice)
        with self._changed:
            while not self._stopped and all(name in self._lent for name in devices):
                self._changed.wait()
            self.refuse_if_stopped()
            device = next(name for name in devices if name not in self._lent)
            self._lent.add(device)
            worker = self._workers.setdefault(device, Worker(device))
        try:
            yield device, worker
        finally:
            with self._changed:
                self._lent.discard(device)
                self._changed.notify_all()

    def stop(self) -> None:
        """End all workers. Waiting for one, or using one, then raises RunStoppedError."""
        with self._changed:
            self._stopped = True
            workers, self._workers = list(self._workers.values()), {}
            self._changed.notify_all()
        for worker in workers:
            worker.retire()

    def refuse_if_stopped(self) -> None:
        """Raise RunStoppedError once the pool is stopped."""
        if self._stopped:
            raise RunStoppedError(_STOPPED)

    def pause(self, seconds: float) -> None:
        """Sleep. Raises RunStoppedError as soon as the pool is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, timeout=seconds)
        self.refuse_if_stopped()

    def resume(self) -> None:
        """Allow the use of workers again after a stop."""
        with self._changed:
            self._stopped = False


POOL = WorkerPool()
atexit.register(POOL.stop)
