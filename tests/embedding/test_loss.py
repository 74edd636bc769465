from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reeldex.embedding.loss import ClassTripletLoss, MaxMarginRankingLoss
from reeldex.embedding.options import LossOptions


def slow_ranking(scores: Tensor, margin: float, n: int, rate: float, *, weighted: bool) -> float:
    """The loss by its definition, one pair after the other."""
    size = len(scores)
    videos = size // n
    total = 0.0
    for i in range(size):
        for j in range(size):
            weight = 1.0
            if weighted and n > 1:
                weight = videos * rate if i // n == j // n else videos * (1 - rate) / (videos - 1)
            pair = scores[i, j].item()
            total += weight * max(0.0, margin + pair - scores[i, i].item())
            total += weight * max(0.0, margin + pair - scores[j, j].item())
    return total / size**2


@pytest.mark.parametrize(("videos", "n"), [(6, 1), (3, 2), (2, 5)])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("weighted", [True, False])
def test_ranking_is_the_slow_loss(videos: int, n: int, rate: float, *, weighted: bool) -> None:
    scores = torch.randn(videos * n, videos * n, generator=torch.Generator().manual_seed(1))
    loss = MaxMarginRankingLoss(
        LossOptions(margin=0.2, negative_weighting=weighted, hard_negative_rate=rate), pairs_per_video=n
    )
    assert loss(scores).item() == pytest.approx(slow_ranking(scores, 0.2, n, rate, weighted=weighted), rel=1e-5)


def test_what_cannot_be_ranked_is_refused() -> None:
    loss = MaxMarginRankingLoss(pairs_per_video=3)
    with pytest.raises(ValueError, match="takes square scores"):
        loss(torch.zeros(3, 4))
    for size in (3, 4):
        with pytest.raises(ValueError, match=f"{size} rows of scores are not at least 2 videos of 3"):
            loss(torch.zeros(size, size))


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"margin": 0}, {"hard_negative_rate": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LossOptions.model_validate(wrong)
    with pytest.raises(ValueError, match="1 pair"):
        MaxMarginRankingLoss(pairs_per_video=0)


def slow_triplets(scores: Tensor, classes: list[int], margin: float) -> float:
    terms = [
        max(0.0, margin + way[anchor, negative].item() - way[anchor, positive].item())
        for way in (scores, scores.T)
        for anchor in range(len(classes))
        for positive in range(len(classes))
        for negative in range(len(classes))
        if anchor != positive and classes[anchor] == classes[positive] and classes[negative] != classes[anchor]
    ]
    return sum(terms) / len(terms)


def test_triplets_are_the_slow_loss_and_reach_the_weights() -> None:
    scores = torch.randn(9, 9, generator=torch.Generator().manual_seed(1), requires_grad=True)
    classes = [3, 1, 3, 7, 1, 3, 9, 7, 7]
    loss = ClassTripletLoss(LossOptions(margin=0.5))(scores, torch.tensor(classes))
    assert loss.item() == pytest.approx(slow_triplets(scores.detach(), classes, 0.5), rel=1e-5)
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.abs().sum() > 0
    assert scores.grad.diagonal().abs().sum() == 0, "a sample and itself are no triplet"


@pytest.mark.parametrize("classes", [[1, 1, 1], [1, 2, 3]])
def test_a_batch_without_triplets_costs_nothing_and_can_be_trained_on(classes: list[int]) -> None:
    scores = torch.randn(3, 3, requires_grad=True)
    loss = ClassTripletLoss()(scores, torch.tensor(classes))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_classes_must_fit_the_scores() -> None:
    with pytest.raises(ValueError, match=r"\(3, 3\) scores and 2 classes"):
        ClassTripletLoss()(torch.zeros(3, 3), torch.tensor([1, 2]))
