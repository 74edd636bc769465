"""The losses: max-margin ranking over pairs, and triplets over classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reeldex.embedding.options import LossOptions


class MaxMarginRankingLoss(nn.Module):
    """Mean over all pairs of a batch of max(0, margin + wrong - right), in both directions.

    The diagonal, the right pairs, contributes 2 * margin. With `pairs_per_video` n above 1, rows and
    columns come in blocks of n captions of one video; `negative_weighting` then weights the pairs of the same
    video by B * h and those of different videos by B * (1 - h) / (B - 1), B being the number of videos and h
    `hard_negative_rate`, so that h is the share of the pairs of the same video. With n = 1 there is no weighting.
    Formula: arXiv 1906.03327, section 4.2, with the published implementation's weights.
    """

    def __init__(self, options: LossOptions | None = None, *, pairs_per_video: int = 1) -> None:
        super().__init__()
        if pairs_per_video < 1:
            raise ValueError(f"A video has at least 1 pair, not {pairs_per_video}.")
        how = options or LossOptions()
        self.margin = how.margin
        self.pairs_per_video = pairs_per_video
        self.hard_negative_rate = how.hard_negative_rate
        self.weighted = how.negative_weighting and pairs_per_video > 1

    def forward(self, scores: Tensor) -> Tensor:
        """Return the loss of (N, N) scores, sentence by video, the right pairs on the diagonal."""
        if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
            raise ValueError(f"The ranking loss takes square scores, not {tuple(scores.shape)}.")
        right = scores.diagonal()
        hinges = functional.relu(self.margin + scores - right[:, None]) + functional.relu(
            self.margin + scores - right[None, :]
        )
        if self.weighted:
            hinges = hinges * self._weights(scores)
        return hinges.mean()

    def _weights(self, scores: Tensor) -> Tensor:
        video_count, rest = divmod(len(scores), self.pairs_per_video)
        if rest or video_count < 2:
            raise ValueError(
                f"{len(scores)} rows of scores are not at least 2 videos of {self.pairs_per_video} captions each, "
                "which weighting negatives of the same and of different videos needs."
            )
        video = torch.arange(video_count, device=scores.device).repeat_interleave(self.pairs_per_video)
        same = video_count * self.hard_negative_rate
        different = video_count * (1 - self.hard_negative_rate) / (video_count - 1)
        return torch.where(video[:, None] == video[None, :], scores.new_tensor(same), scores.new_tensor(different))


class ClassTripletLoss(nn.Module):
    """Mean over triplets of max(0, margin + score(anchor, negative) - score(anchor, positive)), both directions.

    Anchor and positive share a class and are different samples; the negative's class differs. Anchors are
    sentences and the others videos, and the other way round. The published EPIC-KITCHENS fork sums
    the two directions and multiplies by 1000: its loss is 2000 times this one. A batch without a triplet has
    a loss of 0. Memory grows with the cube of the batch size (0.3 GB for 256 samples with gradients).
    """

    def __init__(self, options: LossOptions | None = None) -> None:
        super().__init__()
        self.margin = (options or LossOptions()).margin

    def forward(self, scores: Tensor, classes: Tensor) -> Tensor:
        """Return the loss of (N, N) scores, sentence by video, and the (N,) classes of the samples as integers."""
        if scores.ndim != 2 or scores.shape != (len(classes), len(classes)):
            raise ValueError(
                f"The triplet loss takes square scores and a class for each row, not {tuple(scores.shape)} scores and "
                f"{len(classes)} classes."
            )
        same = classes[:, None] == classes[None, :]
        positive = same & ~torch.eye(len(classes), dtype=torch.bool, device=scores.device)
        triplets = positive[:, :, None] & ~same[:, None, :]
        if not triplets.any():
            return scores.sum() * 0
        total = scores.new_zeros(())
        for direction in (scores, scores.t()):
            hinges = functional.relu(self.margin + direction[:, None, :] - direction[:, :, None])
            total = total + (hinges * triplets).sum()
        return total / (2 * triplets.sum())
