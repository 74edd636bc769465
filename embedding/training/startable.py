"""Checks of a training before anything large is opened; PyTorch is not needed. Also the names of its checkpoints."""

from __future__ import annotations

from reeldex.devices import require_cuda
from reeldex.embedding.errors import TrainingError
from reeldex.embedding.options import TrainingOptions

LAST = "last.pth"
BEST = "best.pth"


def require_computable(options: TrainingOptions, device: str) -> None:
    """Raise DeviceError when a device does not support the options."""
    if options.mixed_precision:
        require_cuda("Mixed precision", device, "On a CPU float16 is slower than float32: omit it.")


def require_full_batch(name: str, sample_count: int, batch_size: int) -> None:
    """Raise TrainingError when a training set has fewer samples than a batch."""
    if sample_count < batch_size:
        raise TrainingError(
            f"{name} has {sample_count} samples, fewer than the {batch_size} of one batch. Lower the batch size."
        )


def require_negatives(options: TrainingOptions, pairs_per_sample: int) -> None:
    """Raise TrainingError when a batch has too few pairs for any negative."""
    weighted = options.loss == "ranking" and options.negative_weighting and pairs_per_sample > 1
    if options.batch_size * pairs_per_sample < 2 or (weighted and options.batch_size < 2):
        raise TrainingError(
            f"A batch of {options.batch_size} sample with {pairs_per_sample} pairs leaves the {options.loss} loss "
            "without negatives of another sample. Raise batch_size to at least 2."
        )
