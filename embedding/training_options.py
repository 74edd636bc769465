"""What a training is told: how long, how fast, by which loss, on what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reeldex.embedding.errors import TrainingError
from reeldex.embedding.loss import ClassTripletLoss, MaxMarginRankingLoss

# Those that may change between a training and its resumption: they change no weight's bits, or only when it ends.
_FREE = frozenset(
    {"epochs", "workers", "device", "compile_model", "evaluate_every", "checkpoint_every_steps", "best_by", "log_every"}
)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How to train; the defaults are the published ones.

    - `batch_size`: samples a step, of all processes together; a sample has `n_pair` pairs.
    - `lr_decay`: what the learning rate is multiplied with after each epoch.
    - `loss`: `ranking` over pairs or `triplet` over verb classes.
    - `workers`: processes that read samples ahead.
    - `device`: `cpu`, `cuda` or `cuda:N`. `mixed_precision`: float16 in the network, CUDA only.
    - `compile_model`: whether torch.compile makes the network faster after a slow start.
    - `evaluate_every`: epochs between evaluations, 0 for none. `checkpoint_every_steps`: steps between checkpoints
      within an epoch, 0 for one at its end alone. `log_every`: steps between TensorBoard scalars.
    - `best_by`: the figure of an evaluation that the best checkpoint is chosen by, such as
      `msrvtt/text_to_video/recall_at_10`; None takes the mean of all recalls at 10, text to video.

    Raises ValueError for what cannot be.
    """

    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 1e-4
    lr_decay: float = 0.9
    loss: Literal["ranking", "triplet"] = "ranking"
    margin: float = 0.1
    negative_weighting: bool = True
    hard_negative_rate: float = 0.5
    seed: int = 1
    workers: int = 0
    device: str = "cpu"
    mixed_precision: bool = False
    compile_model: bool = False
    evaluate_every: int = 1
    checkpoint_every_steps: int = 0
    log_every: int = 10
    best_by: str | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of a training must be at least 1, not {getattr(self, name)}.")
        for name in ("seed", "workers", "evaluate_every", "checkpoint_every_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} of a training must be 0 or more, not {getattr(self, name)}.")
        for name in ("learning_rate", "lr_decay", "margin"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} of a training must be above 0, not {getattr(self, name)}.")
        if self.loss not in ("ranking", "triplet"):
            raise ValueError(f"The loss is 'ranking' or 'triplet', not {self.loss!r}.")
        if not 0 <= self.hard_negative_rate <= 1:
            raise ValueError(f"hard_negative_rate lies in 0..1, not at {self.hard_negative_rate}.")

    def differences(self, trained: object) -> list[str]:
        """Tell in what a training that is to be resumed was told other things that change its weights.

        `trained` is what `dataclasses.asdict` once gave, read from a checkpoint.
        """
        known = trained if isinstance(trained, dict) else {}
        return [
            f"{name} was {known.get(name)!r} and is {value!r}"
            for name, value in asdict(self).items()
            if name not in _FREE and known.get(name) != value
        ]

    def check_device(self) -> None:
        """Raise TrainingError when the device is not to be had, or cannot compute as wished."""
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise TrainingError(f"{self.device!r} is no device: use cpu, cuda or cuda:N.") from error
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise TrainingError(
                f"The device {self.device} is not to be had: PyTorch sees {torch.cuda.device_count()} CUDA devices. "
                "Use --device cpu."
            )
        if self.mixed_precision and device.type != "cuda":
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
        self._ranking = MaxMarginRankingLoss(
            options.margin,
            pairs_per_video=pairs_per_video,
            negative_weighting=options.negative_weighting,
            hard_negative_rate=options.hard_negative_rate,
        )
        self._triplet = ClassTripletLoss(options.margin) if options.loss == "triplet" else None

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
