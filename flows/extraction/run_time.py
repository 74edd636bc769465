"""Where the time of an extraction went, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reeldex.quantities import counted, duration

_HALF = 0.5
_SHORT_SECONDS = 1800.0


@dataclass(frozen=True)
class Estimate:
    """The total time that a run was expected to take, in seconds, after its first videos or by `--dry-run`."""

    seconds: float
    after_videos: int | None = None

    @property
    def origin(self) -> str:
        """What it was estimated from, in words."""
        return "by --dry-run" if self.after_videos is None else f"after the first {counted(self.after_videos, 'video')}"


@dataclass(frozen=True)
class RunTime:
    """The time of a run, in seconds.

    - `seconds_of_work` is that of its devices, added up: of it `device_seconds` in the networks and `waiting_seconds`
      waiting for decoded frames; the rest is starting decoders and writing features. `fetching_seconds` are those of
      the waiting in which the decoders themselves waited for videos that were being fetched.
    - `wall_seconds`: during which at least one of the `devices` had work, the start of its worker included.
    - `estimate`: None for a run too short for one.
    """

    seconds_of_video: float
    seconds_of_work: float
    device_seconds: float
    waiting_seconds: float
    wall_seconds: float = 0.0
    devices: int = 1
    estimate: Estimate | None = None
    fetching_seconds: float = 0.0

    @property
    def speed(self) -> float:
        """Seconds of video per second of work of a device; 0 without any."""
        return self.seconds_of_video / self.seconds_of_work if self.seconds_of_work else 0.0

    @property
    def hours_per_day(self) -> float:
        """Hours of video per day and device."""
        return 24 * self.speed

    @property
    def busy(self) -> float:
        """The share of the work that the devices spent in the networks, from 0 to 1."""
        return min(1.0, self.device_seconds / self.seconds_of_work) if self.seconds_of_work else 0.0

    @property
    def waiting(self) -> float:
        """The share of the work that the devices waited for decoded frames, from 0 to 1."""
        return min(1.0 - self.busy, self.waiting_seconds / self.seconds_of_work) if self.seconds_of_work else 0.0

    @property
    def fetching(self) -> float:
        """The share of the work that the devices waited for videos that were being fetched: a part of `waiting`."""
        return min(self.waiting, self.fetching_seconds / self.seconds_of_work) if self.seconds_of_work else 0.0

    @property
    def bound(self) -> str:
        """What limits the speed: `fetching`, `decoding` or `device`; empty if nothing was computed."""
        total = self.device_seconds + self.waiting_seconds
        if not total:
            return ""
        if self.waiting_seconds <= _HALF * total:
            return "device"
        return "fetching" if self.fetching_seconds > _HALF * self.waiting_seconds else "decoding"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        estimate = self.estimate
        return {
            "bound_by": self.bound or None,
            "seconds_of_video_per_second": self.speed,
            "video_hours_per_day_and_device": self.hours_per_day,
            "device_busy_share": self.busy,
            "decode_wait_share": self.waiting,
            "fetch_wait_share": self.fetching,
            "wall_seconds": self.wall_seconds,
            "devices": self.devices,
            "estimated_seconds": None if estimate is None else estimate.seconds,
        }

    def lines(self) -> list[str]:
        """Return where the time went in lines without indentation; none if nothing was computed."""
        if not self.bound:
            return []
        devices = counted(self.devices, "device")
        return [
            f"time: {duration(self.wall_seconds)} on {devices}, {self.bound}-bound: {self.shares}",
            f"speed per device: {self.speed:,.2f} s of video per second, {self.hours_per_day:,.1f} video-hours per day",
            *([f"estimate: {self.against_estimate}"] if self.estimate else []),
        ]

    @property
    def shares(self) -> str:
        """How the work of the devices divides, in words."""
        rest = max(0.0, 1.0 - self.busy - self.waiting)
        fetches = f" (for videos that were being fetched {self.fetching:.0%})" if self.fetching_seconds else ""
        return f"networks {self.busy:.0%}, waiting for frames {self.waiting:.0%}{fetches}, the rest {rest:.0%}"

    @property
    def remedy(self) -> str:
        """What limits the speed and what to do about it, in words."""
        match self.bound:
            case "fetching":
                return (
                    f"fetching: the networks waited for videos from their services {self.fetching:.0%} of the time; "
                    "raise fetch.downloads, or run nearer to the videos"
                )
            case "decoding":
                return (
                    f"decoding: the networks waited for frames {self.waiting:.0%} of the time; raise compute.decoders "
                    "(--decoders), or use faster disks"
                )
            case "device":
                return f"the device: its networks were busy {self.busy:.0%} of the time"
            case _:
                return "none: nothing was extracted"

    @property
    def against_estimate(self) -> str:
        """The estimate against the actual time, in words; empty without an estimate."""
        if self.estimate is None:
            return ""
        difference = self.wall_seconds / self.estimate.seconds - 1 if self.estimate.seconds else 0.0
        return (
            f"{_exactly(self.estimate.seconds)} {self.estimate.origin}, actually "
            f"{_exactly(self.wall_seconds)} ({difference:+.0%})"
        )


def _exactly(seconds: float) -> str:
    """Return a duration; a short one in seconds, so that two can be compared."""
    return f"{seconds:.0f} s" if seconds < _SHORT_SECONDS else duration(seconds)
