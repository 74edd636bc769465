"""The machines that an estimate is for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reeldex.errors import UsageError


@dataclass(frozen=True)
class Hardware:
    """The machines that an estimate is for: as fast as this one, or each of a `speed` in seconds of video per second.

    Raises UsageError for less than one machine, and a speed that is not positive.
    """

    speed: float | None = None
    machines: int = 1

    def __post_init__(self) -> None:
        if self.machines < 1:
            raise UsageError(f"An estimate is for at least 1 machine, not {self.machines}.")
        if self.speed is not None and not 0 < self.speed < math.inf:
            raise UsageError(f"A speed is a positive number of seconds of video per second, not {self.speed:g}.")

    def busiest_share(self, shards: int) -> float:
        """Return the share of the work that the busiest machine has, of shards of one size; it takes whole ones."""
        return math.ceil(shards / self.machines) / shards if shards else 1.0


THIS_MACHINE = Hardware()
