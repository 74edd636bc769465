"""The loss of a whole batch, of the kind that the options select."""

from __future__ import annotations

from torch import Tensor, nn

from reeldex.embedding.errors import TrainingError
from reeldex.embedding.loss import ClassTripletLoss, MaxMarginRankingLoss
from reeldex.embedding.options import TrainingOptions
from reeldex.embedding.training.startable import require_negatives


class BatchLoss(nn.Module):
    """The loss of a batch, computed from its scores and classes.

    Raises TrainingError when a batch has too few pairs for any negative.
    """

    def __init__(self, options: TrainingOptions, pairs_per_video: int) -> None:
        super().__init__()
        require_negatives(options, pairs_per_video)
        self._ranking = MaxMarginRankingLoss(options, pairs_per_video=pairs_per_video)
        self._triplet = ClassTripletLoss(options) if options.loss == "triplet" else None

    def forward(self, scores: Tensor, class_ids: Tensor) -> Tensor:
        """Return the loss of (N, N) scores, sentence by video, and (N,) classes, which only the triplet loss uses.

        Raises TrainingError for triplets of samples without classes.
        """
        if self._triplet is None:
            ranking: Tensor = self._ranking(scores)
            return ranking
        # Samples without a class would all be of one class: no triplets, so nothing would be learned.
        if bool((class_ids < 0).any()):
            raise TrainingError(
                "The triplet loss uses verb classes, and samples of this data set have none. Train with the ranking "
                "loss, or on EPIC-KITCHENS with labels of verbs."
            )
        triplets: Tensor = self._triplet(scores, class_ids)
        return triplets
