import json
import logging
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from embedding.batches import BatchOptions, TrainingBatches, epoch_order
from embedding.checkpoint import load_checkpoint, require_training
from embedding.datasets.records import ClipTrainingSet
from embedding.distributed import Place
from embedding.errors import CheckpointMismatchError, LossNotFiniteError, TrainingError
from embedding.metrics import ranks_of_right, summarise
from embedding.model import ModelSpec, TextVideoEmbedding
from embedding.train import StepReport, new_model, train
from embedding.training_options import TrainingOptions
from tests.embedding import planted
from tests.embedding.train_planted import losses_of

ROOT = Path(__file__).resolve().parents[2]


class Killed(BaseException):
    pass


def kill_at(step: int) -> Callable[[StepReport], None]:
    def on_step(report: StepReport) -> None:
        if report.step == step:
            raise Killed

    return on_step


def held_out_recall(model: TextVideoEmbedding, folder: Path) -> float:
    clips = planted.clips(1, first=90)
    videos = torch.from_numpy(np.stack([planted.KindReader().read(clip) for clip in clips]))
    words = torch.from_numpy(planted.word_vectors(folder).sentence_vectors([clip.captions[0] for clip in clips], 4))
    with torch.no_grad():
        return summarise(ranks_of_right(model(videos, words).numpy())).recall_at_1


def test_it_learns_and_the_loss_falls(tmp_path: Path) -> None:
    losses: list[float] = []
    options = {"epochs": 50, "batch_size": 8, "learning_rate": 0.02, "lr_decay": 0.98}
    job = planted.job(tmp_path, options=options, on_step=lambda report: losses.append(report.loss))
    before = held_out_recall(job.model.eval(), tmp_path)
    result = train(job)
    assert result.steps == len(losses) == 100
    assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:4])
    assert result.mean_loss == pytest.approx(np.mean(losses[-2:]))
    assert held_out_recall(load_checkpoint(result.last_checkpoint).model(), tmp_path) > max(0.8, before)


def test_the_learning_rate_falls_after_each_epoch(tmp_path: Path) -> None:
    rates: list[float] = []
    train(planted.job(tmp_path, on_step=lambda report: rates.append(report.learning_rate)))
    assert rates == pytest.approx([0.01] * 4 + [0.009] * 4 + [0.0081] * 4)


@pytest.mark.parametrize("checkpoint_every", [1, 3])
@pytest.mark.parametrize("killed_at", [1, 4, 5, 7, 11, 12])
def test_killed_at_any_step_and_resumed_it_ends_with_the_same_weights(
    tmp_path: Path, killed_at: int, checkpoint_every: int
) -> None:
    options = {"checkpoint_every_steps": checkpoint_every}
    undisturbed = train(planted.job(tmp_path / "a", options=options))
    with pytest.raises(Killed):
        train(planted.job(tmp_path / "b", options=options, on_step=kill_at(killed_at)))
    # Another model and other random states than at the beginning, if there is a checkpoint that says what they were.
    model = new_model(planted.SPEC, 77 if (tmp_path / "b/run/last.pth").exists() else 1)
    torch.manual_seed(killed_at)
    resumed = train(planted.job(tmp_path / "b", options=options, resume=True, model=model))
    one, other = load_checkpoint(undisturbed.last_checkpoint), load_checkpoint(resumed.last_checkpoint)
    assert planted.same_weights(lambda: dict(one.weights), lambda: dict(other.weights))
    assert resumed == replace(
        undisturbed, last_checkpoint=resumed.last_checkpoint, best_checkpoint=resumed.best_checkpoint
    )
    best = [load_checkpoint(result.best_checkpoint) for result in (undisturbed, resumed)]
    assert planted.same_weights(lambda: dict(best[0].weights), lambda: dict(best[1].weights))


def test_a_process_killed_outright_is_resumed_with_the_same_weights(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from embedding.train import train\n"
        "from tests.embedding import planted\n"
        "def die(report):\n"
        "    if report.step == 6:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        # As many threads as here, on which the order of sums depends.
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        f"folder = Path({str(tmp_path / 'b')!r})\n"
        "train(planted.job(folder, options={'checkpoint_every_steps': 4}, on_step=die))\n"
    )
    (tmp_path / "b").mkdir()
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()[-2000:]
    options = {"checkpoint_every_steps": 4}
    resumed = train(planted.job(tmp_path / "b", options=options, resume=True, model=new_model(planted.SPEC, 77)))
    undisturbed = train(planted.job(tmp_path / "a", options=options))
    one, other = (load_checkpoint(result.last_checkpoint).weights for result in (undisturbed, resumed))
    assert planted.same_weights(lambda: dict(one), lambda: dict(other))


def test_a_resumed_training_repeats_no_step_that_is_kept(tmp_path: Path) -> None:
    steps: list[int] = []
    options = {"checkpoint_every_steps": 1}
    with pytest.raises(Killed):
        train(planted.job(tmp_path, options=options, on_step=kill_at(6)))
    train(planted.job(tmp_path, options=options, resume=True, on_step=lambda report: steps.append(report.step)))
    assert steps == list(range(7, 13))


def test_data_workers_change_nothing(tmp_path: Path) -> None:
    results = [
        train(planted.job(tmp_path / str(workers), options={"workers": workers, "epochs": 2})) for workers in (0, 2)
    ]
    one, other = (load_checkpoint(result.last_checkpoint).weights for result in results)
    assert planted.same_weights(lambda: dict(one), lambda: dict(other))


def test_a_finished_training_can_be_made_longer(tmp_path: Path) -> None:
    train(planted.job(tmp_path / "a", options={"epochs": 2}))
    longer = train(planted.job(tmp_path / "a", options={"epochs": 3}, resume=True))
    whole = train(planted.job(tmp_path / "b", options={"epochs": 3}))
    one, other = (load_checkpoint(result.last_checkpoint).weights for result in (longer, whole))
    assert planted.same_weights(lambda: dict(one), lambda: dict(other))
    done = train(planted.job(tmp_path / "a", options={"epochs": 3}, resume=True))
    assert done.steps == 12
    assert math.isnan(done.mean_loss)


def test_a_folder_with_a_training_is_not_overwritten(tmp_path: Path) -> None:
    train(planted.job(tmp_path, options={"epochs": 1}))
    before = (tmp_path / "run/last.pth").read_bytes()
    with pytest.raises(TrainingError, match="holds a training already"):
        train(planted.job(tmp_path))
    assert (tmp_path / "run/last.pth").read_bytes() == before


def retold() -> ClipTrainingSet:
    """As many samples of the same clips, with other captions."""
    groups = [[replace(clip, captions=("another",))] for clip in planted.clips(2)]
    return ClipTrainingSet("planted", groups, planted.KindReader())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": {"learning_rate": 0.5, "seed": 9}}, "learning_rate was 0.01 and is 0.5; seed was 1 and is 9"),
        ({"samples": retold()}, "the samples were .*'count': 16.*'drawn'.* and are .*'count': 16"),
        ({"samples": planted.training_set(3)}, "the samples were .*16.* and are .*24"),
        ({"model": new_model(replace(planted.SPEC, embed_dim=9), 1)}, "the model was ModelSpec.*embed_dim=10"),
    ],
)
def test_other_settings_cannot_resume(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    train(planted.job(tmp_path, options={"epochs": 1}))
    with pytest.raises(CheckpointMismatchError, match=said):
        train(planted.job(tmp_path, resume=True, **changes))


def test_what_does_not_fit_together_is_said_before_the_first_step(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": new_model(replace(planted.SPEC, video_dim=9), 1)}, "video vectors of 9 numbers, and .* have 12"),
        ({"model": new_model(replace(planted.SPEC, word_dim=9), 1)}, "word vectors of 9 numbers, and these have 6"),
        ({"options": {"batch_size": 17}}, "planted has 16 samples, fewer than the 17 of one batch"),
        ({"options": {"batch_size": 1}}, "batch of 1 sample with 1 pairs leaves the ranking loss without negatives"),
        ({"options": {"batch_size": 1}, "samples": planted.training_set(pairs=3)}, "1 sample with 3 pairs leaves"),
        ({"options": {"device": "cuda:99"}}, "cuda:99 is not to be had"),
        ({"options": {"device": "abacus"}}, "'abacus' is no device"),
        ({"options": {"mixed_precision": True}}, "needs a CUDA device"),
    ]
    for changes, said in cases:
        with pytest.raises(TrainingError, match=said):
            train(planted.job(tmp_path, **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "settings",
    [{"epochs": 0}, {"seed": -1}, {"learning_rate": 0}, {"loss": "hinge"}, {"hard_negative_rate": 1.5}, {"margin": -1}],
)
def test_options_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings)).removeprefix("the ")):
        TrainingOptions(**settings)  # type: ignore[arg-type]


def test_a_nan_stops_the_run_and_names_the_batch_and_the_culprit(tmp_path: Path) -> None:
    samples = planted.training_set(broken=frozenset({"blue-1"}))
    options = {"checkpoint_every_steps": 1}
    with pytest.raises(
        LossNotFiniteError, match=r"loss of step .* is nan. Features .* of blue-1 are not finite"
    ) as caught:
        train(planted.job(tmp_path, samples=samples, options=options))
    assert "blue-1" in caught.value.sample_ids
    assert len(caught.value.sample_ids) == 4
    last = tmp_path / "run/last.pth"
    if last.exists():
        assert all(value.isfinite().all() for value in load_checkpoint(last).weights.values())


def test_weights_that_diverged_are_said_to_have(tmp_path: Path) -> None:
    job = planted.job(tmp_path)
    with torch.no_grad():
        job.model.GU_text.fc.bias.fill_(torch.inf)
    with pytest.raises(LossNotFiniteError, match="the weights have diverged: lower the learning rate"):
        train(job)


def test_the_model_is_in_training_mode_only_while_it_trains(tmp_path: Path) -> None:
    modes: list[tuple[str, bool]] = []
    job = planted.job(tmp_path, options={"epochs": 2})
    original = job.model.embed_videos

    def watched(videos: torch.Tensor) -> torch.Tensor:
        modes.append(("step", job.model.training and job.model.GU_video.training))
        return original(videos)

    def evaluate(model: TextVideoEmbedding) -> dict[str, float]:
        modes.append(("evaluation", model.training))
        assert not torch.is_grad_enabled()
        return {"planted/text_to_video/recall_at_10": 0.5}

    job.model.embed_videos = watched  # type: ignore[method-assign]
    job.model.eval()
    train(replace(job, evaluate=evaluate))
    epoch = [("step", True)] * 4 + [("evaluation", False)]
    assert modes == [("evaluation", False), *epoch, *epoch]
    assert not job.model.training


def test_the_model_leaves_training_mode_when_a_step_fails(tmp_path: Path) -> None:
    job = planted.job(tmp_path, on_step=kill_at(2))
    with pytest.raises(Killed):
        train(job)
    assert not job.model.training


class Figures:
    """An evaluation that gives planned figures: the first at the beginning, then one an epoch."""

    def __init__(self, *values: float, name: str = "planted/text_to_video/recall_at_10") -> None:
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
    result = train(planted.job(tmp_path, evaluate=figures, options={"best_by": best_by}))
    assert require_training(load_checkpoint(result.best_checkpoint), tmp_path).epoch == best_epoch
    assert require_training(load_checkpoint(result.last_checkpoint), tmp_path).epoch == 3


def test_without_an_evaluation_the_best_has_the_lowest_loss(tmp_path: Path) -> None:
    sums: dict[int, float] = {}

    def note(report: StepReport) -> None:
        sums[report.epoch] = sums.get(report.epoch, 0) + report.loss

    result = train(planted.job(tmp_path, on_step=note))
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

    train(planted.job(tmp_path, evaluate=evaluate, on_step=note, options={"epochs": 5, "evaluate_every": 2}))
    assert epochs == [0, 2, 4, 5]
    epochs.clear()
    train(planted.job(tmp_path / "n", evaluate=evaluate, on_step=note, options={"evaluate_every": 0}))
    assert epochs == []


def test_an_unknown_figure_is_said_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be chosen by 'recall': the evaluation gives other, planted"):
        train(planted.job(tmp_path, evaluate=Figures(0.0), on_step=kill_at(1), options={"best_by": "recall"}))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "run/tensorboard"))
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_shows_each_step_once_after_a_resumption(tmp_path: Path) -> None:
    losses: dict[int, float] = {}

    def note(report: StepReport) -> None:
        losses[report.step] = report.loss
        kill_at(7)(report)

    options = {"checkpoint_every_steps": 3, "log_every": 1}
    with pytest.raises(Killed):
        train(planted.job(tmp_path, options=options, on_step=note))
    train(planted.job(tmp_path, options=options, resume=True, on_step=lambda r: losses.update({r.step: r.loss})))
    found = scalars(tmp_path)
    assert [step for step, _ in found["train/loss"]] == list(range(1, 13))
    assert dict(found["train/loss"]) == pytest.approx(losses, rel=1e-6)
    assert [step for step, _ in found["train/epoch_loss"]] == [4, 8, 12]


def test_evaluations_are_on_tensorboard_too(tmp_path: Path) -> None:
    train(planted.job(tmp_path, evaluate=Figures(0.0, 0.25, 0.5, 0.75)))
    found = scalars(tmp_path)["planted/text_to_video/recall_at_10"]
    assert found == [(0, 0.0), (4, 0.25), (8, 0.5), (12, 0.75)]


def test_a_checkpoint_says_what_it_was_trained_on(tmp_path: Path) -> None:
    result = train(planted.job(tmp_path, config={"dataset": "planted"}, options={"epochs": 1}))
    origin = load_checkpoint(result.last_checkpoint).origin
    assert origin.word_vectors == "planted words"
    assert origin.features == {"2d": {"space": "net2d.v1", "fingerprint": {"fps": 1}}}
    assert origin.config["dataset"] == "planted"
    options = origin.config["options"]
    assert isinstance(options, dict)
    assert options["learning_rate"] == 0.01


def test_triplets_train_too(tmp_path: Path) -> None:
    losses: list[float] = []
    options = {"loss": "triplet", "epochs": 40, "batch_size": 16, "margin": 0.5, "lr_decay": 0.99}
    train(planted.job(tmp_path, options=options, on_step=lambda r: losses.append(r.loss)))
    assert losses[-1] < 0.5 * losses[0]
    assert losses[0] > 0


def test_one_video_s_captions_are_enough_where_negatives_are_not_weighted(tmp_path: Path) -> None:
    options = {"batch_size": 1, "epochs": 1, "negative_weighting": False}
    assert train(planted.job(tmp_path, samples=planted.training_set(pairs=3), options=options)).steps == 16


def test_triplets_of_samples_without_classes_are_refused(tmp_path: Path) -> None:
    groups = [[replace(clip, class_id=-1)] for clip in planted.clips(2)]
    samples = ClipTrainingSet("unclassed", groups, planted.KindReader())
    with pytest.raises(TrainingError, match=r"samples of this data set have none\. Train with the ranking loss"):
        train(planted.job(tmp_path, samples=samples, options={"loss": "triplet"}))


def test_mixed_precision_has_nearly_the_same_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A CPU is refused because it gains nothing; it computes the same way as a GPU, which may not be there.
    monkeypatch.setattr(TrainingOptions, "check_device", lambda _: None)
    losses: dict[bool, list[float]] = {True: [], False: []}
    for mixed, found in losses.items():
        options = {"mixed_precision": mixed, "checkpoint_every_steps": 1}

        def note(report: StepReport, found: list[float] = found) -> None:
            found.append(report.loss)

        train(planted.job(tmp_path / str(mixed), options=options, on_step=note))
    assert losses[True] == pytest.approx(losses[False], abs=2e-3)
    assert losses[True] != losses[False]
    state = require_training(load_checkpoint(tmp_path / "True/run/last.pth"), tmp_path)
    assert state.scaler["scale"] > 0


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
        train(planted.job(tmp_path / str(wanted), options=options, on_step=lambda r, found=found: found.append(r.loss)))
    assert len(compiled) == 1
    assert losses[True] == pytest.approx(losses[False], abs=1e-5)
    weights = load_checkpoint(tmp_path / "True/run/last.pth").weights
    assert weights.keys() == new_model(planted.SPEC, 1).state_dict().keys()


def test_new_models_depend_on_the_seed_alone() -> None:
    spec = ModelSpec(4, 3, 5)
    torch.manual_seed(99)
    one = new_model(spec, 1)
    assert planted.same_weights(one.state_dict, new_model(spec, 1).state_dict)
    assert not planted.same_weights(one.state_dict, new_model(spec, 2).state_dict)


def test_epochs_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="embedding.train"):
        train(planted.job(tmp_path, options={"epochs": 2}))
    assert [record.message.split(":")[0] for record in caplog.records] == ["Epoch 1 of 2", "Epoch 2 of 2"]


def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "ranking": {"batch_size": 8},
        "pairs": {"pairs": 3, "batch_size": 4, "hard_negative_rate": 0.3},
        "triplet": {"batch_size": 16, "loss": "triplet"},
    }
    (tmp_path / "two").mkdir()
    planted.word_vectors(tmp_path / "two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = ["-m", "tests.embedding.train_planted", str(tmp_path / "two"), json.dumps(cases)]
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        torchrun = subprocess.Popen([*command, *script], cwd=ROOT, stderr=file, stdout=file)
        try:
            assert torchrun.wait(timeout=300) == 0, errors.read_text()[-3000:]
        finally:
            # Asked to end, it ends its processes too; killed, it would leave them.
            torchrun.terminate()
            torchrun.wait(timeout=60)
    first, second = (json.loads((tmp_path / f"two/losses.{rank}").read_text()) for rank in range(2))
    assert first == second
    (tmp_path / "one").mkdir()
    for name, options in cases.items():
        alone = losses_of(tmp_path / "one" / name, options)
        assert first[name] == pytest.approx(alone, abs=1e-5)
        assert alone[0] != pytest.approx(alone[-1], abs=1e-3)
        weights = [load_checkpoint(tmp_path / each / name / "run/last.pth").weights for each in ("one", "two")]
        for parameter in weights[0]:
            np.testing.assert_allclose(weights[0][parameter].numpy(), weights[1][parameter].numpy(), atol=1e-4)


def test_a_batch_must_divide_among_the_processes(tmp_path: Path) -> None:
    options = BatchOptions(batch_size=5, seed=1, max_words=4)
    with pytest.raises(TrainingError, match="batch of 5 samples cannot be divided among 2 processes"):
        TrainingBatches(planted.training_set(), planted.word_vectors(tmp_path), options, Place(1, 2))


def test_more_processes_than_gpus_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One GPU is claimed to be there; nothing is computed on it.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match="device cuda:1 is not to be had: PyTorch sees 1 CUDA devices"):
        train(planted.job(tmp_path, options={"device": "cuda"}), Place(1, 2, 1))


def test_processes_share_each_batch_in_the_order_of_one(tmp_path: Path) -> None:
    options = BatchOptions(batch_size=4, seed=1, max_words=4)

    def ids(rank: int, world: int) -> list[tuple[str, ...]]:
        batches = TrainingBatches(
            planted.training_set(pairs=2), planted.word_vectors(tmp_path), options, Place(rank, world)
        )
        return [batch.clip_ids for batch in batches.epoch(3)]

    joined = [one + other for one, other in zip(ids(0, 2), ids(1, 2), strict=True)]
    assert joined == ids(0, 1)
    assert sorted(len(each) for each in joined) == [8] * 4


def test_an_epoch_takes_each_sample_once_in_an_order_of_its_own() -> None:
    first, second = epoch_order(50, 1, 0).tolist(), epoch_order(50, 1, 1).tolist()
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert epoch_order(50, 1, 0).tolist() == first


def test_batch_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 sample"):
        BatchOptions(batch_size=0, seed=1, max_words=4)


@pytest.mark.parametrize(
    ("environment", "place"),
    [({}, Place()), ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Place(3, 4, 1))],
)
def test_the_place_is_torchrun_s(environment: dict[str, str], place: Place) -> None:
    assert Place.from_environment(environment) == place
    assert place.is_first == (not environment)


def test_half_of_what_torchrun_says_is_refused() -> None:
    with pytest.raises(TrainingError, match="only RANK are there"):
        Place.from_environment({"RANK": "1"})
    with pytest.raises(TrainingError, match="must be numbers"):
        Place.from_environment({"RANK": "1", "WORLD_SIZE": "x", "LOCAL_RANK": "0"})


def test_each_process_has_a_gpu_of_its_own_unless_one_is_named() -> None:
    assert str(Place(3, 4, 1).device("cuda")) == "cuda:1"
    assert str(Place().device("cuda")) == "cuda"
    assert str(Place(3, 4, 1).device("cuda:0")) == "cuda:0"
    assert str(Place(3, 4, 1).device("cpu")) == "cpu"
