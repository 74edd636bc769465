"""Scalars for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class ScalarLog:
    """Writes scalars to a folder that `tensorboard --logdir` shows; does nothing when not `enabled`.

    What a resumed training wrote after `purge_step` before it was killed is hidden.
    """

    def __init__(self, folder: Path, *, enabled: bool, purge_step: int) -> None:
        self._folder = folder
        self._enabled = enabled
        self._purge_step = purge_step
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> Self:
        if self._enabled:
            from torch.utils.tensorboard import SummaryWriter

            # A scalar at the step itself was written before its checkpoint.
            purge_step = self._purge_step + 1 if self._purge_step else None
            self._writer = SummaryWriter(str(self._folder), purge_step=purge_step)
        return self

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write values by name at a step."""
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
