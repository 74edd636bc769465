"""What is known of this machine's speed: measured rates of networks, and how estimates compared with runs.

One JSON file per machine in the cache. It may be deleted at any time; then the next estimate measures again. Commands
that run at the same time change it one after the other, under a lock, so that none loses what another has found.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from reeldex import user_folders
from reeldex.cached_files import publish_text
from reeldex.errors import ReeldexError
from reeldex.storage.lock import hold_lock

log = logging.getLogger(__name__)

_MOST_ESTIMATES = 50
# An estimate and a run are of the same videos if their lengths differ by no more, in seconds or as a share.
_SAME_SECONDS, _SAME_SHARE = 1.0, 0.02
_LEAST_CORRECTION, _MOST_CORRECTION = 0.25, 4.0
# A change takes milliseconds; one that cannot be made is lost, and then measured again.
_LONGEST_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Estimated:
    """An estimate that waits for its run: of how much video, the estimate, and that of the work without correction."""

    seconds_of_video: float
    total_seconds: float
    uncorrected_seconds: float


@dataclass(frozen=True)
class Calibration:
    """The speed of one machine.

    - `seconds_per_row`: of each network alone, by its space, runtime, device, precision, batch and size of frames.
    - `start_seconds`: from the start of a run until its worker has loaded the networks.
    - `correction`: what estimates of the work after that have to be multiplied with, as runs have shown; 1 before the
      first.
    - `estimates`: the last estimate for each store, by its path.
    """

    seconds_per_row: Mapping[str, float] = field(default_factory=dict)
    start_seconds: float | None = None
    correction: float = 1.0
    estimates: Mapping[str, Estimated] = field(default_factory=dict)

    def with_rate(self, key: str, seconds: float) -> Calibration:
        """Return it with the rate of a network."""
        return replace(self, seconds_per_row={**self.seconds_per_row, key: seconds})

    def with_measured(self, measured: Calibration) -> Calibration:
        """Return it with the rates of another, and with its start if none is known."""
        start = measured.start_seconds if self.start_seconds is None else self.start_seconds
        return replace(self, seconds_per_row={**self.seconds_per_row, **measured.seconds_per_row}, start_seconds=start)

    def with_estimate(self, store: str, estimated: Estimated) -> Calibration:
        """Return it with the last estimate for a store."""
        others = {path: each for path, each in self.estimates.items() if path != store}
        kept = dict(list(others.items())[-(_MOST_ESTIMATES - 1) :])
        return replace(self, estimates={**kept, store: estimated})

    def learnt(self, estimated: Estimated, start_seconds: float, work_seconds: float) -> Calibration:
        """Return it halfway (as a ratio) to the correction and the start that would have made an estimate right.

        Workers that were still running start at once: a start of less than half is not learnt.
        """
        known = self.start_seconds
        if known is not None and start_seconds > known / 2:
            known = (known * min(start_seconds, _MOST_CORRECTION * known)) ** 0.5
        right = min(_MOST_CORRECTION, max(_LEAST_CORRECTION, work_seconds / estimated.uncorrected_seconds))
        return replace(self, start_seconds=known, correction=(self.correction * right) ** 0.5)


def load_calibration() -> Calibration:
    """Return what is known of this machine; nothing if there is no file, or it cannot be read."""
    try:
        content: dict[str, Any] = json.loads(_file().read_text(encoding="utf-8"))
        return Calibration(
            {str(key): _positive(value) for key, value in content["seconds_per_row"].items()},
            None if content["start_seconds"] is None else _positive(content["start_seconds"]),
            _positive(content["correction"]),
            {
                str(store): Estimated(**{name: _positive(value) for name, value in each.items()})
                for store, each in content["estimates"].items()
            },
        )
    except FileNotFoundError:
        return Calibration()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, user_folders.FolderNotWritableError) as error:
        log.info("The calibration of this machine cannot be read, and is measured again: %s", error)
        return Calibration()


def compare_with_estimate(
    store: Path, seconds_of_video: float, actual_seconds: float, work_seconds: float
) -> float | None:
    """Return what `--dry-run` had estimated for the run that has just ended, and let later estimates learn from it.

    None if there was no estimate for this store, or of another amount of video: then the run was another one.
    `actual_seconds` is the wall-clock time of the run, the start of its workers included, and `work_seconds` the part
    of it after that.
    """
    key = str(store.absolute())
    estimated = load_calibration().estimates.get(key)
    if (
        not work_seconds
        or estimated is None
        or abs(seconds_of_video - estimated.seconds_of_video)
        > max(_SAME_SECONDS, _SAME_SHARE * estimated.seconds_of_video)
    ):
        return None

    def learn(known: Calibration) -> Calibration:
        # A later estimate for this store waits for its own run.
        rest = {path: each for path, each in known.estimates.items() if (path, each) != (key, estimated)}
        return replace(known.learnt(estimated, actual_seconds - work_seconds, work_seconds), estimates=rest)

    change_calibration(learn)
    return estimated.total_seconds


def change_calibration(change: Callable[[Calibration], Calibration]) -> None:
    """Publish what `change` makes of what is known of this machine by now; a cache that cannot be written is logged."""
    try:
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(file.parent, _LONGEST_WAIT_SECONDS, "calibration"):
            publish_text(file, json.dumps(asdict(change(load_calibration())), indent=1))
    except (OSError, NotImplementedError, ReeldexError) as error:  # a file system may have no locks
        log.info("The calibration of this machine cannot be kept: %s", error)


def _positive(value: object) -> float:
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"a rate must be a positive number, not {value!r}")
    return float(value)


def _file() -> Path:
    return user_folders.cache_folder("calibration") / f"{machine_key()}.json"


def machine_key() -> str:
    """Return a name of this machine's processor and the number of cores that this process may use."""
    about = [platform.machine(), _processor(), len(os.sched_getaffinity(0))]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU implementer"))]
    return named[0] if named else platform.processor()
