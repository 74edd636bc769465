from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.embedding.errors import TrainingError
from reeldex.embedding.training.batches import BatchOptions, TrainingBatches
from reeldex.embedding.training.checkpoint import load_checkpoint
from reeldex.embedding.training.distributed import ProcessRank
from reeldex.embedding.training.train import run_training
from reeldex.errors import DeviceError
from tests.embedding import synthetic
from tests.embedding.train_synthetic import losses_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "ranking": {"batch_size": 8},
        "pairs": {"pairs": 3, "batch_size": 4, "hard_negative_rate": 0.3},
        "triplet": {"batch_size": 16, "loss": "triplet"},
    }
    (tmp_path / "two").mkdir()
    synthetic.word_vectors(tmp_path / "two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = ["-m", "tests.embedding.train_synthetic", str(tmp_path / "two"), json.dumps(cases)]
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
        TrainingBatches(synthetic.training_set(), synthetic.word_vectors(tmp_path), options, ProcessRank(1, 2))


def test_more_processes_than_gpus_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One GPU is claimed to be there; nothing is computed on it.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match=r"'cuda:1' is not available: PyTorch sees 1 CUDA device\."):
        run_training(synthetic.job(tmp_path, options={"device": "cuda"}), ProcessRank(1, 2, 1))


def test_processes_share_each_batch_in_the_order_of_one(tmp_path: Path) -> None:
    options = BatchOptions(batch_size=4, seed=1, max_words=4)

    def ids(rank: int, world: int) -> list[tuple[str, ...]]:
        batches = TrainingBatches(
            synthetic.training_set(pairs=2), synthetic.word_vectors(tmp_path), options, ProcessRank(rank, world)
        )
        return [batch.clip_ids for batch in batches.epoch(3)]

    joined = [one + other for one, other in zip(ids(0, 2), ids(1, 2), strict=True)]
    assert joined == ids(0, 1)
    assert sorted(len(each) for each in joined) == [8] * 4


@pytest.mark.parametrize(
    ("environment", "process"),
    [({}, ProcessRank()), ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, ProcessRank(3, 4, 1))],
)
def test_the_rank_is_torchrun_s(environment: dict[str, str], process: ProcessRank) -> None:
    assert ProcessRank.from_environment(environment) == process
    assert process.is_first == (not environment)


def test_half_of_what_torchrun_says_is_refused() -> None:
    with pytest.raises(TrainingError, match="only RANK are set"):
        ProcessRank.from_environment({"RANK": "1"})
    with pytest.raises(TrainingError, match="must be numbers"):
        ProcessRank.from_environment({"RANK": "1", "WORLD_SIZE": "x", "LOCAL_RANK": "0"})


def test_each_process_has_a_gpu_of_its_own_unless_one_is_named() -> None:
    assert str(ProcessRank(3, 4, 1).device("cuda")) == "cuda:1"
    assert str(ProcessRank().device("cuda")) == "cuda"
    assert str(ProcessRank(3, 4, 1).device("cuda:0")) == "cuda:0"
    assert str(ProcessRank(3, 4, 1).device("cpu")) == "cpu"
