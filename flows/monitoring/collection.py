"""The sum of the metrics of all runs of a machine, those that have ended included."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reeldex.errors import UserError
from reeldex.flows.monitoring.run_file import lock_of
from reeldex.storage.atomic import publish_text
from reeldex.user_folders import make_writable

_TOTALS = "totals.json"
_WAIT_SECONDS = 10.0


class MetricsError(UserError):
    """The files of metrics cannot be read."""


@dataclass
class _Totals:
    """The counters of runs that have ended, and the names of those of their files that may still be there."""

    counters: dict[str, float] = field(default_factory=dict)
    added: set[str] = field(default_factory=set)


def collect(folder: Path) -> dict[str, float]:
    """Return all samples of the runs that record their metrics in `folder`.

    The counters of a run that has ended, also by being killed, are added to those of the folder, and its file is
    removed: counters never decrease. Gauges are those of runs that work now. Raises MetricsError for a damaged file,
    and FolderNotWritableError.
    """
    make_writable(folder, "monitoring.metrics_folder")
    try:
        with FileLock(folder / ".lock", timeout=_WAIT_SECONDS):
            return _collect(folder)
    except Timeout as timeout:
        raise MetricsError(f"The metrics in {folder} are in use by another process; try again.") from timeout


def _collect(folder: Path) -> dict[str, float]:
    totals = _read_totals(folder)
    gauges: dict[str, float] = {}
    working: dict[str, float] = {}
    ended = []
    for file in sorted(folder.glob("run-*.json")):
        with _ended(file) as has_ended:
            if has_ended:
                if file.name not in totals.added:
                    _add(totals.counters, _read(file)["counters"])
                    totals.added.add(file.name)
                ended.append(file)
            else:
                content = _read(file)
                _add(working, content["counters"])
                _add(gauges, content["gauges"])
    if ended:
        _write_totals(folder, totals)
        # Only now: killed in between, the next collection finds the files among those that were added.
        for file in ended:
            file.unlink(missing_ok=True)
            lock_of(file).unlink(missing_ok=True)
            totals.added.discard(file.name)
    _add(working, totals.counters)
    return {**gauges, **working}


def _add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value


@contextlib.contextmanager
def _ended(file: Path) -> Iterator[bool]:
    """Whether the run of a file has ended; its lock is held meanwhile, so that nobody else takes it."""
    lock = FileLock(lock_of(file), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _read(file: Path) -> dict[str, dict[str, float]]:
    try:
        content = json.loads(file.read_bytes())
        return {"counters": _numbers(content["counters"]), "gauges": _numbers(content["gauges"])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise MetricsError(
            f"The file of metrics {file} cannot be read ({type(error).__name__}: {error}). Remove it."
        ) from error


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def _read_totals(folder: Path) -> _Totals:
    file = folder / _TOTALS
    if not file.exists():
        return _Totals()
    content = _read(file)
    try:
        added = set(json.loads(file.read_bytes())["added"])
    except (ValueError, TypeError, KeyError) as error:
        raise MetricsError(f"The file of metrics {file} is damaged ({error}). Remove it.") from error
    return _Totals(content["counters"], added)


def _write_totals(folder: Path, totals: _Totals) -> None:
    content = {"version": 1, "counters": totals.counters, "gauges": {}, "added": sorted(totals.added)}
    publish_text(folder / _TOTALS, json.dumps(content, indent=1) + "\n")
