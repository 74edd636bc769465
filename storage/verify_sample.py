"""Which shards a verification of a sample reads."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection
from dataclasses import dataclass

_SAMPLE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*%|(\d+)", re.ASCII)


@dataclass(frozen=True)
class Sample:
    """A share of a store's shards, or a number of them, and the seed of their choice.

    A larger sample with the same seed includes a smaller one, and another seed chooses others. Raises ValueError unless
    exactly one of `share` (above 0, at most 1) and `count` (at least 1) is given.
    """

    share: float | None = None
    count: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.share is None) == (self.count is None):
            raise ValueError("a sample is a share of the shards or a number of them")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"a share of the shards is above 0% and at most 100%, not {self.share * 100:.10g}%")
        if self.count is not None and self.count < 1:
            raise ValueError(f"a sample has at least 1 shard, not {self.count}")

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Sample:
        """Return the sample of a text such as `1%`, a share of the shards, or `50`, a number of them.

        Raises ValueError for any other text.
        """
        match = _SAMPLE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is neither a share of the shards, such as 1%, nor a number of them, such as 50")
        return cls(float(match[1]) / 100, None, seed) if match[1] else cls(None, int(match[2]), seed)

    def of(self, shards: Collection[int]) -> list[int]:
        """Return the chosen ones of these shards, in order: of a share at least one, of a number at most all."""
        count = math.ceil(len(shards) * self.share - 1e-9) if self.share is not None else self.count or 0
        return sorted(sorted(shards, key=self._rank)[:count])

    def _rank(self, shard: int) -> bytes:
        return hashlib.sha256(f"{self.seed} {shard}".encode("ascii")).digest()

    def __str__(self) -> str:
        size = f"{self.share * 100:.10g}%" if self.share is not None else str(self.count)
        return f"{size}, seed {self.seed}"
