"""Computes batches that may be too large for a device's memory: they are halved, and so are later ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
T = TypeVar("T")


class _Batched(Protocol):
    space: str
    device: str
    batch_rows: int


def in_fitting_parts(
    network: _Batched, clips: NDArray[np.uint8], start: Callable[[NDArray[np.uint8]], T], free: Callable[[], None]
) -> list[T]:
    """Return what `start` returns for consecutive parts of `clips`, of at most `network.batch_rows` clips each.

    When `start` runs out of memory, `free` frees what it can, and `batch_rows` is halved: `start` may compute
    as many rows for a part that is shorter. Raises torch.OutOfMemoryError if a single clip does not fit.
    """
    done: list[T] = []
    position = 0
    while position < len(clips):
        part = clips[position : position + network.batch_rows]
        try:
            done.append(start(part))
            position += len(part)
            continue
        except torch.OutOfMemoryError:
            if network.batch_rows == 1:
                raise
        # Outside of the handler, whose exception would keep the failed attempt's memory alive.
        free()
        before, network.batch_rows = network.batch_rows, network.batch_rows // 2
        log.warning(
            "%s: %d clips do not fit into the memory of %s; continuing with %d at a time.",
            network.space,
            before,
            network.device,
            network.batch_rows,
        )
    return done
