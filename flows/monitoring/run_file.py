"""The metrics of one run, in a file that it rewrites while it works.

A run may be short, and several share a machine, so that none of them serves its metrics itself. A file's lock tells
whether its run is alive: the kernel releases it when the process ends, however that happens.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock

from reeldex.flows.monitoring.metrics import RUNS, Metric
from reeldex.storage.atomic import publish_text
from reeldex.user_folders import make_writable

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "REELDEX_METRICS_FOLDER"
"""The environment's name for the folder, for runs whose command does not name one."""
_EVERY_SECONDS = 5.0


class RunMetrics:
    """The metrics of one run. Methods may be called from several threads.

    They are written to `folder` at most every few seconds, and nowhere if it is None. A file that cannot be written is
    reported once in the log, and the run goes on.
    """

    def __init__(self, folder: Path | None) -> None:
        self._lock = threading.Lock()
        self._counters: dict[str, float] = {}
        self._gauges: dict[str, float] = {RUNS.sample(): 1.0}
        self._written = time.monotonic() - _EVERY_SECONDS
        self._file = None if folder is None else _new_file(folder)
        self._held: FileLock | None = None
        if self._file is not None:
            # Before the file: one that nobody holds belongs to a run that has ended.
            self._held = FileLock(lock_of(self._file))
            self._held.acquire()
            self._write()

    def add(self, metric: Metric, amount: float = 1.0, value: str | None = None) -> None:
        """Increase a counter; `value` is that of its label."""
        with self._lock:
            sample = metric.sample(value)
            self._counters[sample] = self._counters.get(sample, 0.0) + amount
            self._write_if_due()

    def set(self, metric: Metric, amount: float) -> None:
        """Set a gauge."""
        with self._lock:
            self._gauges[metric.sample()] = amount
            self._write_if_due()

    def end(self) -> None:
        """Write the final counters; the run is no longer counted as working."""
        with self._lock:
            if self._file is not None:
                self._gauges.clear()
                self._write()
            if self._held is not None:
                self._held.release()
                self._file = self._held = None

    def _write_if_due(self) -> None:
        if self._file is not None and time.monotonic() - self._written >= _EVERY_SECONDS:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        self._written = time.monotonic()
        content = {"version": 1, "counters": dict(self._counters), "gauges": self._gauges}
        try:
            publish_text(self._file, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            log.warning("The metrics of this run are not recorded any more: %s", error)
            self._file = None


def lock_of(file: Path) -> Path:
    """Return the lock of a run's file."""
    return file.with_suffix(".lock")


def _new_file(folder: Path) -> Path:
    make_writable(folder, "monitoring.metrics_folder")
    return folder / f"run-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.json"


# Of a command; Prefect runs flows and tasks in copies of the context.
_folder: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def recording_in(folder: Path | None) -> Iterator[None]:
    """Record the metrics of runs in the block in this folder; None: in the one that the environment names, if any."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def configured_folder() -> Path | None:
    """Return the folder for metrics: the command's, else the one that the environment names, else None."""
    named = os.environ.get(FOLDER_VARIABLE)
    return _folder.get() or (Path(named) if named else None)


@contextmanager
def recorded() -> Iterator[RunMetrics]:
    """Record the metrics of a run in the block. Raises FolderNotWritableError."""
    metrics = RunMetrics(configured_folder())
    try:
        yield metrics
    finally:
        metrics.end()
