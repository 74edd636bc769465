"""Values in memory, the least recently used of which are forgotten when they are too many."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Values by key, each of a weight; together they weigh `most`, unless a single one weighs more.

    For threads that use it at once: they may have to make a value again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._values: OrderedDict[K, tuple[int, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value of a key, None if there is none; it is then the one used last."""
        found = self._values.get(key)
        if found is None:
            return None
        with contextlib.suppress(KeyError):  # another thread may have taken it away
            self._values.move_to_end(key)
        return found[1]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Keep a value, and forget those used least recently if they are too many."""
        self._weight += weight - self._values.pop(key, (0, None))[0]
        self._values[key] = (weight, value)
        with contextlib.suppress(KeyError):  # another thread may have taken the last one
            while self._weight > self._most and len(self._values) > 1:
                self._weight -= self._values.popitem(last=False)[1][0]
        if len(self._values) == 1:
            # What two threads put at once may have been counted twice.
            self._weight = weight

    def clear(self) -> None:
        """Forget all values."""
        self._values.clear()
        self._weight = 0
