"""One shard per device at a time, across all runs of a user on a machine, by lock files.

The kernel releases a lock when its process ends, even after SIGKILL or a reboot: there are no stale locks to clean up.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from filelock import FileLock, Timeout

from reeldex.flows.execution.workers import POOL
from reeldex.quantities import duration
from reeldex.storage.errors import StoreBusyError
from reeldex.storage.lock import describe_holder, hold_lock
from reeldex.user_folders import make_writable, state_folder

log = logging.getLogger(__name__)

# Polling interval for a stop of the run while it waits.
_LOOK_UP_SECONDS = 1.0
_REPORT_SECONDS = 60.0


def lock_folder(device: str) -> Path:
    """Return the folder of a device's lock, such as `~/.local/state/reeldex/devices/gpubox/cuda-0`.

    It contains the host name: machines may share a home folder, but not devices.
    """
    return state_folder() / "devices" / socket.gethostname() / re.sub(r"[^A-Za-z0-9]+", "-", device)


@contextmanager
def one_shard_at_a_time(device: str, run: str) -> Iterator[None]:
    """Hold the lock of a device while the block runs, waiting until no other run holds it; `run` is this run's name.

    Waiting runs alternate with runs that have more shards to do. While it waits, the holder of the device is logged
    at most once per minute. Raises RunStoppedError when the run is stopped while waiting, FolderNotWritableError
    when the lock file cannot be created, and OSError when it cannot be locked.
    """
    folder = lock_folder(device)
    make_writable(folder, "XDG_STATE_HOME")
    waiting = _Waiting(device, folder)
    with contextlib.ExitStack() as locks:
        # A run that releases the device between two shards queues behind the run that waits here.
        with contextlib.ExitStack() as queue:
            while not _entered(queue, FileLock(folder / ".queue", timeout=_LOOK_UP_SECONDS, poll_interval=0.2)):
                waiting.report()
            while not _entered(locks, hold_lock(folder, _LOOK_UP_SECONDS, "device", f"run {run!r}")):
                waiting.report()
        waiting.end()
        yield


def _entered(stack: contextlib.ExitStack, lock: contextlib.AbstractContextManager[object]) -> bool:
    POOL.refuse_if_stopped()
    try:
        stack.enter_context(lock)
    except (Timeout, StoreBusyError):
        return False
    return True


class _Waiting:
    """Logs what a run waits for, at most once per minute for all of its shards."""

    # When each device's lock was last reported, by its folder: runs that take turns wait before each shard.
    _last: ClassVar[dict[Path, float]] = {}

    def __init__(self, device: str, folder: Path) -> None:
        self._device = device
        self._folder = folder
        self._started = time.monotonic()
        self._reported = False

    def report(self) -> None:
        now = time.monotonic()
        last = self._last.get(self._folder)
        if last is None or now - last >= _REPORT_SECONDS:
            self._last[self._folder] = now
            self._reported = True
            log.warning("Waiting for %s, which is in use by %s", self._device, describe_holder(self._folder))

    def end(self) -> None:
        if self._reported:
            log.info("%s is free after %s of waiting", self._device, duration(time.monotonic() - self._started))
