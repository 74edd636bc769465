"""What follows from the options of a training: its device, its loss, and whether it may be resumed with others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reeldex.embedding.errors import TrainingError
from reeldex.embedding.loss import ClassTripletLoss, MaxMarginRankingLoss
from reeldex.embedding.options import TrainingOptions

# Those that may change between a training and its resumption: they change no weight's bits, or only when it ends.
_FREE = frozenset(
    {"epochs", "workers", "device", "compile_model", "evaluate_every", "checkpoint_every_steps", "best_by", "log_every"}
)


def differences(options: TrainingOptions, trained: object) -> list[str]:
    """Return the options that change weights and differ from those that the training was begun with.

    `trained` is what `TrainingOptions.model_dump` once gave, read from a checkpoint.
    """
    known = trained if isinstance(trained, dict) else {}
    return [
        f"{name} was {known.get(name)!r} and is {value!r}"
        for name, value in options.model_dump(mode="json").items()
        if name not in _FREE and known.get(name) != value
    ]


def chosen_device(wanted: str) -> str:
    """Return the device that `auto` means here; any other as it is."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def require_device(wanted: str, *, mixed_precision: bool = False) -> None:
    """Raise TrainingError when a device is not available, or cannot compute as wished."""
    device = torch.device(chosen_device(wanted))
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(
            f"The device {wanted} is not available: PyTorch sees {torch.cuda.device_count()} CUDA devices. "
            "Use --device cpu."
        )
    if mixed_precision and device.type != "cuda":
        raise TrainingError("Mixed precision needs a CUDA device: on a CPU float16 is slower than float32.")


class BatchLoss(nn.Module):
    """The loss of a batch by its scores and classes, whichever kind it is.

    Raises TrainingError when a batch has too few pairs for any negative.
    """

    def __init__(self, options: TrainingOptions, pairs_per_video: int) -> None:
        super().__init__()
        weighted = options.loss == "ranking" and options.negative_weighting and pairs_per_video > 1
        if options.batch_size * pairs_per_video < 2 or (weighted and options.batch_size < 2):
            raise TrainingError(
                f"A batch of {options.batch_size} sample with {pairs_per_video} pairs leaves the {options.loss} loss "
                "without negatives of another sample. Raise batch_size to at least 2."
            )
        self._ranking = MaxMarginRankingLoss(options, pairs_per_video=pairs_per_video)
        self._triplet = ClassTripletLoss(options) if options.loss == "triplet" else None

    def forward(self, scores: Tensor, class_ids: Tensor) -> Tensor:
        """Return the loss of (N, N) scores, sentence by video, and (N,) classes, which only triplets look at.

        Raises TrainingError for triplets of samples without classes.
        """
        if self._triplet is None:
            ranking: Tensor = self._ranking(scores)
            return ranking
        # All without a class would be of one class: there would be no triplet, and nothing would be learnt.
        if bool((class_ids < 0).any()):
            raise TrainingError(
                "The triplet loss goes by verb classes, and samples of this data set have none. Train with the ranking "
                "loss, or on EPIC-KITCHENS with labels of verbs."
            )
        triplets: Tensor = self._triplet(scores, class_ids)
        return triplets
