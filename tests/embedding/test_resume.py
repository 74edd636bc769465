from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reeldex.embedding.datasets.records import ClipTrainingSet
from reeldex.embedding.errors import CheckpointMismatchError, TrainingError
from reeldex.embedding.training.checkpoint import load_checkpoint
from reeldex.embedding.training.checks import differences
from reeldex.embedding.training.train import StepReport, new_model, run_training
from tests.embedding import synthetic

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_every", [1, 3])
@pytest.mark.parametrize("killed_at", [1, 4, 5, 7, 11, 12])
def test_killed_at_any_step_and_resumed_it_ends_with_the_same_weights(
    tmp_path: Path, killed_at: int, checkpoint_every: int
) -> None:
    options = {"checkpoint_every_steps": checkpoint_every}
    undisturbed = run_training(synthetic.job(tmp_path / "a", options=options))
    with pytest.raises(synthetic.Killed):
        run_training(synthetic.job(tmp_path / "b", options=options, on_step=synthetic.kill_at(killed_at)))
    # Another model and other random states than at the beginning, if there is a checkpoint that says what they were.
    model = new_model(synthetic.SPEC, 77 if (tmp_path / "b/run/last.pth").exists() else 1)
    torch.manual_seed(killed_at)
    resumed = run_training(synthetic.job(tmp_path / "b", options=options, resume=True, model=model))
    one, other = load_checkpoint(undisturbed.last_checkpoint), load_checkpoint(resumed.last_checkpoint)
    assert synthetic.same_weights(lambda: dict(one.weights), lambda: dict(other.weights))
    assert resumed == replace(
        undisturbed, last_checkpoint=resumed.last_checkpoint, best_checkpoint=resumed.best_checkpoint
    )
    best = [load_checkpoint(result.best_checkpoint) for result in (undisturbed, resumed)]
    assert synthetic.same_weights(lambda: dict(best[0].weights), lambda: dict(best[1].weights))


@pytest.mark.slow
def test_a_process_killed_outright_is_resumed_with_the_same_weights(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from reeldex.embedding.training.train import run_training\n"
        "from tests.embedding import synthetic\n"
        "def die(report):\n"
        "    if report.step == 6:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        # As many threads as here, on which the order of sums depends.
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        f"folder = Path({str(tmp_path / 'b')!r})\n"
        "run_training(synthetic.job(folder, options={'checkpoint_every_steps': 4}, on_step=die))\n"
    )
    (tmp_path / "b").mkdir()
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()[-2000:]
    options = {"checkpoint_every_steps": 4}
    resumed = run_training(
        synthetic.job(tmp_path / "b", options=options, resume=True, model=new_model(synthetic.SPEC, 77))
    )
    undisturbed = run_training(synthetic.job(tmp_path / "a", options=options))
    one, other = (load_checkpoint(result.last_checkpoint).weights for result in (undisturbed, resumed))
    assert synthetic.same_weights(lambda: dict(one), lambda: dict(other))


@pytest.mark.slow
def test_a_resumed_training_repeats_no_step_that_is_kept(tmp_path: Path) -> None:
    steps: list[int] = []
    options = {"checkpoint_every_steps": 1}
    with pytest.raises(synthetic.Killed):
        run_training(synthetic.job(tmp_path, options=options, on_step=synthetic.kill_at(6)))
    run_training(
        synthetic.job(tmp_path, options=options, resume=True, on_step=lambda report: steps.append(report.step))
    )
    assert steps == list(range(7, 13))


@pytest.mark.slow
def test_a_finished_training_can_be_made_longer(tmp_path: Path) -> None:
    run_training(synthetic.job(tmp_path / "a", options={"epochs": 2}))
    longer = run_training(synthetic.job(tmp_path / "a", options={"epochs": 3}, resume=True))
    whole = run_training(synthetic.job(tmp_path / "b", options={"epochs": 3}))
    one, other = (load_checkpoint(result.last_checkpoint).weights for result in (longer, whole))
    assert synthetic.same_weights(lambda: dict(one), lambda: dict(other))
    done = run_training(synthetic.job(tmp_path / "a", options={"epochs": 3}, resume=True))
    assert (done.epochs, done.steps) == (3, 12)
    assert run_training(synthetic.job(tmp_path / "a", options={"epochs": 1}, resume=True)).epochs == 3
    assert math.isnan(done.mean_loss)


def test_a_folder_with_a_training_is_not_overwritten(tmp_path: Path) -> None:
    run_training(synthetic.job(tmp_path, options={"epochs": 1}))
    before = (tmp_path / "run/last.pth").read_bytes()
    with pytest.raises(TrainingError, match="holds a training already"):
        run_training(synthetic.job(tmp_path))
    assert (tmp_path / "run/last.pth").read_bytes() == before


def retold() -> ClipTrainingSet:
    """As many samples of the same clips, with other captions."""
    groups = [[replace(clip, captions=("another",))] for clip in synthetic.clips(2)]
    return ClipTrainingSet("synthetic", groups, synthetic.KindReader())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": {"learning_rate": 0.5, "seed": 9}}, "learning_rate was 0.01 and is 0.5; seed was 1 and is 9"),
        ({"samples": retold()}, "the samples were .*'count': 16.*'drawn'.* and are .*'count': 16"),
        ({"samples": synthetic.training_set(3)}, "the samples were .*16.* and are .*24"),
        ({"model": new_model(replace(synthetic.SPEC, embed_dim=9), 1)}, "the model was ModelSpec.*embed_dim=10"),
    ],
)
def test_other_settings_cannot_resume(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    run_training(synthetic.job(tmp_path, options={"epochs": 1}))
    with pytest.raises(CheckpointMismatchError, match=said):
        run_training(synthetic.job(tmp_path, resume=True, **changes))


def test_a_training_from_before_an_option_existed_can_be_resumed() -> None:
    recorded = synthetic.OPTIONS.model_dump(mode="json")
    del recorded["validation_share"]
    assert differences(synthetic.OPTIONS, recorded) == []
    assert differences(synthetic.OPTIONS.replaced(validation_share=0.5), recorded) == [
        "validation_share was 0.0 and is 0.5"
    ]


def test_tensorboard_shows_each_step_once_after_a_resumption(tmp_path: Path) -> None:
    losses: dict[int, float] = {}

    def note(report: StepReport) -> None:
        losses[report.step] = report.loss
        synthetic.kill_at(7)(report)

    options = {"checkpoint_every_steps": 3, "log_every": 1}
    with pytest.raises(synthetic.Killed):
        run_training(synthetic.job(tmp_path, options=options, on_step=note))
    run_training(
        synthetic.job(tmp_path, options=options, resume=True, on_step=lambda r: losses.update({r.step: r.loss}))
    )
    found = synthetic.scalars(tmp_path)
    assert [step for step, _ in found["train/loss"]] == list(range(1, 13))
    assert dict(found["train/loss"]) == pytest.approx(losses, rel=1e-6)
    assert [step for step, _ in found["train/epoch_loss"]] == [4, 8, 12]


def test_where_there_is_nothing_to_go_on_from_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_training(synthetic.job(tmp_path, options={"epochs": 1}, resume=True))
    assert "starting a new training" in caplog.text
    caplog.clear()
    run_training(synthetic.job(tmp_path, options={"epochs": 2}, resume=True))
    assert "starting a new training" not in caplog.text
