from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from reeldex.embedding.errors import TrainingError
from reeldex.embedding.model import TextVideoEmbedding
from reeldex.embedding.training.checkpoint import load_checkpoint, require_training
from reeldex.embedding.training.train import StepReport, run_training
from tests.embedding import synthetic


class Figures:
    """An evaluation that gives planned figures: the first at the beginning, then one an epoch."""

    def __init__(self, *values: float, name: str = "synthetic/text_to_video/recall_at_10") -> None:
        self.values = list(values)
        self.name = name

    def __call__(self, _: TextVideoEmbedding) -> Mapping[str, float]:
        return {self.name: self.values.pop(0), "other": 0.0}


@pytest.mark.parametrize(
    ("figures", "best_by", "best_epoch"),
    [
        (Figures(0.0, 0.2, 0.9, 0.4), None, 2),
        (Figures(9.0, 3.0, 3.0, 1.0, name="x/median_rank"), "x/median_rank", 3),
        (Figures(0.0, 0.5, 0.5, 0.5, name="x"), "x", 1),
    ],
)
def test_the_best_checkpoint_is_that_of_the_best_figure(
    tmp_path: Path, figures: Figures, best_by: str | None, best_epoch: int
) -> None:
    result = run_training(synthetic.job(tmp_path, evaluate=figures, options={"best_by": best_by}))
    assert require_training(load_checkpoint(result.best_checkpoint), tmp_path).epoch == best_epoch
    assert require_training(load_checkpoint(result.last_checkpoint), tmp_path).epoch == 3


def test_without_an_evaluation_the_best_has_the_lowest_loss(tmp_path: Path) -> None:
    sums: dict[int, float] = {}

    def note(report: StepReport) -> None:
        sums[report.epoch] = sums.get(report.epoch, 0) + report.loss

    result = run_training(synthetic.job(tmp_path, on_step=note))
    best = require_training(load_checkpoint(result.best_checkpoint), tmp_path)
    assert best.epoch == 1 + min(sums, key=lambda epoch: sums[epoch])


def test_evaluation_every_second_epoch_and_at_the_end(tmp_path: Path) -> None:
    epochs: list[int] = []
    step = 0

    def note(report: StepReport) -> None:
        nonlocal step
        step = report.step

    def evaluate(_: TextVideoEmbedding) -> dict[str, float]:
        epochs.append(step // 4)
        return {}

    run_training(synthetic.job(tmp_path, evaluate=evaluate, on_step=note, options={"epochs": 5, "evaluate_every": 2}))
    assert epochs == [0, 2, 4, 5]
    epochs.clear()
    run_training(synthetic.job(tmp_path / "n", evaluate=evaluate, on_step=note, options={"evaluate_every": 0}))
    assert epochs == []


def test_an_unknown_figure_is_said_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be chosen by 'recall': the evaluation has other, synthetic"):
        run_training(
            synthetic.job(tmp_path, evaluate=Figures(0.0), on_step=synthetic.kill_at(1), options={"best_by": "recall"})
        )


def test_evaluations_are_on_tensorboard_too(tmp_path: Path) -> None:
    run_training(synthetic.job(tmp_path, evaluate=Figures(0.0, 0.25, 0.5, 0.75)))
    found = synthetic.scalars(tmp_path)["synthetic/text_to_video/recall_at_10"]
    assert found == [(0, 0.0), (4, 0.25), (8, 0.5), (12, 0.75)]


def test_a_figure_to_choose_by_needs_evaluations(tmp_path: Path) -> None:
    options = {"best_by": "synthetic/text_to_video/recall_at_10"}
    with pytest.raises(TrainingError, match=r"cannot be chosen by 'synthetic/.*': nothing is evaluated"):
        run_training(synthetic.job(tmp_path, on_step=synthetic.kill_at(1), options=options))


def test_a_training_resumed_with_another_figure_is_not_judged_by_the_old_one(tmp_path: Path) -> None:
    run_training(synthetic.job(tmp_path, evaluate=Figures(0.0, 0.9), options={"epochs": 1}))
    ranks = Figures(7.0, 9.0, name="x/median_rank")
    options = {"epochs": 3, "best_by": "x/median_rank"}
    result = run_training(synthetic.job(tmp_path, evaluate=ranks, options=options, resume=True))
    assert result.best == -7.0
    assert require_training(load_checkpoint(result.best_checkpoint), tmp_path).epoch == 2
    alone = run_training(synthetic.job(tmp_path, options={"epochs": 4}, resume=True))
    best = require_training(load_checkpoint(alone.best_checkpoint), tmp_path)
    assert (best.epoch, best.best_by) == (4, "loss")
