from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.embedding.datasets.records import ClipTrainingSet
from reeldex.embedding.errors import FeaturesError, LossNotFiniteError, TrainingError
from reeldex.embedding.evaluation.metrics import ranks_of_right, summarise
from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.embedding.options import TrainingOptions
from reeldex.embedding.training.batches import BatchOptions, epoch_order
from reeldex.embedding.training.checkpoint import load_checkpoint, require_training
from reeldex.embedding.training.train import StepReport, new_model, run_training
from reeldex.errors import DeviceError
from tests.embedding import synthetic


def held_out_recall(model: TextVideoEmbedding, folder: Path) -> float:
    clips = synthetic.clips(1, first=90)
    videos = torch.from_numpy(np.stack([synthetic.KindReader().read(clip) for clip in clips]))
    words = torch.from_numpy(synthetic.word_vectors(folder).sentence_vectors([clip.captions[0] for clip in clips], 4))
    with torch.no_grad():
        return summarise(ranks_of_right(model(videos, words).numpy())).recall_at_1


@pytest.mark.slow
def test_it_learns_and_the_loss_falls(tmp_path: Path) -> None:
    losses: list[float] = []
    options = {"epochs": 50, "batch_size": 8, "learning_rate": 0.02, "lr_decay": 0.98}
    job = synthetic.job(tmp_path, options=options, on_step=lambda report: losses.append(report.loss))
    before = held_out_recall(job.model.eval(), tmp_path)
    result = run_training(job)
    assert result.steps == len(losses) == 100
    assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:4])
    assert result.mean_loss == pytest.approx(np.mean(losses[-2:]))
    assert held_out_recall(load_checkpoint(result.last_checkpoint).model(), tmp_path) > max(0.8, before)


@pytest.mark.slow
def test_the_learning_rate_falls_after_each_epoch(tmp_path: Path) -> None:
    rates: list[float] = []
    run_training(synthetic.job(tmp_path, on_step=lambda report: rates.append(report.learning_rate)))
    assert rates == pytest.approx([0.01] * 4 + [0.009] * 4 + [0.0081] * 4)


def test_data_workers_change_nothing(tmp_path: Path) -> None:
    results = [
        run_training(synthetic.job(tmp_path / str(workers), options={"workers": workers, "epochs": 2}))
        for workers in (0, 2)
    ]
    one, other = (load_checkpoint(result.last_checkpoint).weights for result in results)
    assert synthetic.same_weights(lambda: dict(one), lambda: dict(other))


def test_what_does_not_fit_together_is_said_before_the_first_step(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"model": new_model(replace(synthetic.SPEC, video_dim=9), 1)},
            "video vectors of 9 dimensions, and .* have 12",
        ),
        (
            {"model": new_model(replace(synthetic.SPEC, word_dim=9), 1)},
            "word vectors of 9 dimensions, and these have 6",
        ),
        ({"options": {"batch_size": 17}}, "synthetic has 16 samples, fewer than the 17 of one batch"),
        ({"options": {"batch_size": 1}}, "batch of 1 sample with 1 pair leaves the ranking loss without negatives"),
        ({"options": {"batch_size": 1}, "samples": synthetic.training_set(pairs=3)}, "1 sample with 3 pairs leaves"),
        ({"options": {"device": "cuda:99"}}, "'cuda:99' is not available"),
        ({"options": {"device": "cpu", "mixed_precision": True}}, "needs a CUDA device"),
    ]
    for changes, said in cases:
        with pytest.raises((TrainingError, DeviceError), match=said):
            run_training(synthetic.job(tmp_path, **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"device": "abacus"},
        {"epochs": 0},
        {"seed": -1},
        {"learning_rate": 0},
        {"loss": "hinge"},
        {"hard_negative_rate": 1.5},
        {"margin": -1},
    ],
)
def test_options_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings)).removeprefix("the ")):
        TrainingOptions(**settings)  # type: ignore[arg-type]


def test_a_nan_stops_the_run_and_names_the_batch_and_the_culprit(tmp_path: Path) -> None:
    samples = synthetic.training_set(broken=frozenset({"blue-1"}))
    options = {"checkpoint_every_steps": 1}
    with pytest.raises(
        LossNotFiniteError, match=r"loss of step .* is nan. Features .* of blue-1 are not finite"
    ) as caught:
        run_training(synthetic.job(tmp_path, samples=samples, options=options))
    assert "blue-1" in caught.value.sample_ids
    assert len(caught.value.sample_ids) == 4
    last = tmp_path / "run/last.pth"
    if last.exists():
        assert all(value.isfinite().all() for value in load_checkpoint(last).weights.values())


def test_weights_that_diverged_are_said_to_have(tmp_path: Path) -> None:
    job = synthetic.job(tmp_path)
    with torch.no_grad():
        job.model.GU_text.fc.bias.fill_(torch.inf)
    with pytest.raises(LossNotFiniteError, match="the weights have diverged: lower the learning rate"):
        run_training(job)


def test_the_model_is_in_training_mode_only_while_it_trains(tmp_path: Path) -> None:
    modes: list[tuple[str, bool]] = []
    job = synthetic.job(tmp_path, options={"epochs": 2})
    original = job.model.embed_videos

    def watched(videos: torch.Tensor) -> torch.Tensor:
        modes.append(("step", job.model.training and job.model.GU_video.training))
        return original(videos)

    def evaluate(model: TextVideoEmbedding) -> dict[str, float]:
        modes.append(("evaluation", model.training))
        assert not torch.is_grad_enabled()
        return {"synthetic/text_to_video/recall_at_10": 0.5}

    job.model.embed_videos = watched  # type: ignore[method-assign]
    job.model.eval()
    run_training(replace(job, evaluate=evaluate))
    epoch = [("step", True)] * 4 + [("evaluation", False)]
    assert modes == [("evaluation", False), *epoch, *epoch]
    assert not job.model.training


def test_the_model_leaves_training_mode_when_a_step_fails(tmp_path: Path) -> None:
    job = synthetic.job(tmp_path, on_step=synthetic.kill_at(2))
    with pytest.raises(synthetic.Killed):
        run_training(job)
    assert not job.model.training


def test_a_checkpoint_says_what_it_was_trained_on(tmp_path: Path) -> None:
    result = run_training(synthetic.job(tmp_path, config={"dataset": "synthetic"}, options={"epochs": 1}))
    origin = load_checkpoint(result.last_checkpoint).origin
    assert origin.word_vectors == "synthetic words"
    assert origin.features == {"2d": {"space": "net2d.v1", "fingerprint": {"fps": 1}}}
    assert origin.config["dataset"] == "synthetic"
    options = origin.config["options"]
    assert isinstance(options, dict)
    assert options["learning_rate"] == 0.01


@pytest.mark.slow
def test_triplets_train_too(tmp_path: Path) -> None:
    losses: list[float] = []
    options = {"loss": "triplet", "epochs": 40, "batch_size": 16, "margin": 0.5, "lr_decay": 0.99}
    run_training(synthetic.job(tmp_path, options=options, on_step=lambda r: losses.append(r.loss)))
    assert losses[-1] < 0.5 * losses[0]
    assert losses[0] > 0


def test_one_video_s_captions_are_enough_where_negatives_are_not_weighted(tmp_path: Path) -> None:
    options = {"batch_size": 1, "epochs": 1, "negative_weighting": False}
    assert run_training(synthetic.job(tmp_path, samples=synthetic.training_set(pairs=3), options=options)).steps == 16


def test_triplets_of_samples_without_classes_are_refused(tmp_path: Path) -> None:
    groups = [[replace(clip, class_id=-1)] for clip in synthetic.clips(2)]
    samples = ClipTrainingSet("unclassed", groups, synthetic.KindReader())
    with pytest.raises(TrainingError, match=r"samples of this data set have none\. Train with the ranking loss"):
        run_training(synthetic.job(tmp_path, samples=samples, options={"loss": "triplet"}))


def test_mixed_precision_has_nearly_the_same_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A CPU is refused because it gains nothing; it computes the same way as a GPU, which may not be there.
    monkeypatch.setattr("reeldex.embedding.training.train.require_computable", lambda *_, **__: None)
    losses: dict[bool, list[float]] = {True: [], False: []}
    for mixed, found in losses.items():
        options = {"mixed_precision": mixed, "checkpoint_every_steps": 1}

        def note(report: StepReport, found: list[float] = found) -> None:
            found.append(report.loss)

        run_training(synthetic.job(tmp_path / str(mixed), options=options, on_step=note))
    assert losses[True] == pytest.approx(losses[False], abs=2e-3)
    assert losses[True] != losses[False]
    state = require_training(load_checkpoint(tmp_path / "True/run/last.pth"), tmp_path)
    assert state.scaler["scale"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
def test_a_compiled_model_has_the_same_losses_and_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the compiler behind it, which takes half a minute: what is traced is the same.
    compiled: list[object] = []

    def trace(module: torch.nn.Module) -> object:
        compiled.append(module)
        return compile_module(module, backend="eager")

    compile_module = torch.compile
    monkeypatch.setattr(torch, "compile", trace)
    losses: dict[bool, list[float]] = {}
    for wanted in (False, True):
        found = losses[wanted] = []
        options = {"compile_model": wanted}
        run_training(
            synthetic.job(tmp_path / str(wanted), options=options, on_step=lambda r, found=found: found.append(r.loss))
        )
    assert len(compiled) == 1
    assert losses[True] == pytest.approx(losses[False], abs=1e-5)
    weights = load_checkpoint(tmp_path / "True/run/last.pth").weights
    assert weights.keys() == new_model(synthetic.SPEC, 1).state_dict().keys()


def test_new_models_depend_on_the_seed_alone() -> None:
    spec = ModelSpec(4, 3, 5)
    torch.manual_seed(99)
    one = new_model(spec, 1)
    assert synthetic.same_weights(one.state_dict, new_model(spec, 1).state_dict)
    assert not synthetic.same_weights(one.state_dict, new_model(spec, 2).state_dict)


def test_epochs_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="reeldex.embedding.training.train"):
        run_training(synthetic.job(tmp_path, options={"epochs": 2}))
    assert [record.message.split(":")[0] for record in caplog.records] == ["Epoch 1 of 2", "Epoch 2 of 2"]


def test_an_epoch_takes_each_sample_once_in_an_order_of_its_own() -> None:
    first, second = epoch_order(50, 1, 0).tolist(), epoch_order(50, 1, 1).tolist()
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert epoch_order(50, 1, 0).tolist() == first


def test_batch_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 sample"):
        BatchOptions(batch_size=0, seed=1, max_words=4)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_video_that_cannot_be_read_ends_the_training_with_its_own_message(tmp_path: Path, workers: int) -> None:
    # Beyond those that are looked at before the first step.
    samples = synthetic.training_set(unreadable=frozenset({"fast-0"}))
    with pytest.raises(FeaturesError) as raised:
        run_training(synthetic.job(tmp_path, samples=samples, options={"workers": workers}))
    assert str(raised.value) == "fast-0 cannot be read"
