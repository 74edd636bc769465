"""What `reeldex train` and `reeldex evaluate` do not do, and what they say then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reeldex.storage.lock import hold_lock
from tests.conftest import Reeldex
from tests.flows.captioned import KINDS, TRAIN, data_of, make_captioned, own_words


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_with_status_1_and_names_the_clips(reeldex: Reeldex, tmp_path: Path) -> None:
    data = data_of(make_captioned(tmp_path))
    train = ("train", *data, *own_words(tmp_path), *TRAIN, "--epochs", 50, "--learning-rate", 1e30)
    answer = reeldex(*train, "--out", tmp_path / "run")
    assert answer.status == 1
    assert "The batch held" in answer.err
    assert "lower the learning rate" in answer.err
    assert "Traceback" not in answer.err
    reported = reeldex(*train, "--out", tmp_path / "again", "--json")
    assert (reported.status, reported.json["kind"]) == (1, "LossNotFiniteError")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--out", "o", "--train-word-vectors"), "needs train_csv. Set it"),
        (
            ("train", "--store", "nowhere", "--data", "here", "--out", "o", "--train-word-vectors"),
            "not a feature store",
        ),
        (("train", "--data", "here", "--out", "o"), "--word-vectors FILE"),
        (("train", "--out", "o", "--word-vectors", "none.bin", "--train-word-vectors"), "exclude"),
        (("train", "--out", "o", "--checkpoint", "none.pth"), "no checkpoint at none.pth"),
        (("train", "--out", "o", "--train-word-vectors", "--device", "cuda:99"), "Use --device cpu"),
        (("train", "--out", "o", "--device", "gpu"), "train.device"),
        (("train", "--out", "o", "--preset", "verb-2"), "--preset requires --dataset epic"),
        (("train", "--out", "o", "--clips-before", "1"), "--clips-before requires --dataset epic"),
        (
            ("train", "--out", "o", "--n-pair", "3"),
            "msrvtt. It is an option of: howto100m, youcook2, captions.",
        ),
        (
            ("train", "--out", "o", "--file", "test_cvs=x"),
            "msrvtt has no such key. Did you mean test_csv?",
        ),
        (("train", "--out", "o", "--file", "zzz=x"), "Its keys are: folder, features"),
        (("evaluate", "--checkpoint", "text.pth", "--protocol", "1k-C"), "datasets.msrvtt.protocol"),
        (("evaluate", "--checkpoint", "text.pth", "--published-sha256", "ab"), "datasets.msrvtt.published_sha256"),
        (("evaluate", "--checkpoint", "text.pth", "--published-sha256", "ab" * 32), "needs protocol"),
        (
            ("evaluate", "--checkpoint", "text.pth", "--dataset", "lsmdc", "--protocol", "1k"),
            "--set datasets.NAME.protocol=1k for several",
        ),
        (("train", "--out", "o", "--set", "train.epoch=3"), "did you mean 'train.epochs'"),
        (("train", "--out", "o", "--set", "train.epochs.n=3"), "epochs is not a section"),
        (("train", "--out", "o", "--set", "train=3"), "Set its keys one by one: --set train.KEY=VALUE"),
        (("train", "--out", "o", "--store", "s", "--set", "datasets.msrvtt.features=3"), "not a feature store"),
        (("train", "--out", "o", "--seed", "99999999999999999999"), "train.seed"),
        (("train", "--out", "o", "--train-word-vectors", "--best-by", "x"), "without an evaluation"),
        (("train", "--out", "text.pth", "--train-word-vectors"), "text.pth is a file"),
        (("train", "--out", "o", "--features-2d", "a"), "--features-2d DIR and --features-3d DIR"),
        (
            ("train", "--out", "o", "--features-2d", "a", "--features-3d", "b", "--skip-damaged"),
            "skip_damaged needs a store",
        ),
        (("train", "--out", "o", "--loss", "triplet"), "needs verb classes"),
        (("evaluate", "--checkpoint", "none.pth"), "no checkpoint at none.pth"),
        (("evaluate", "--checkpoint", "text.pth"), "text.pth"),
        (("evaluate", "--checkpoint", "text.pth", "--resamples", "-1"), "evaluate.resamples"),
        (("evaluate", "--checkpoint", "text.pth", "--save-ranking", "."), ". is a folder"),
        (("evaluate", "--checkpoint", "text.pth", "--save-ranking", "text.pth/a.csv"), "text.pth is a file"),
    ],
)
def test_wrong_use_is_said_with_status_2(reeldex: Reeldex, arguments: tuple[str, ...], said: str) -> None:
    Path("text.pth").write_text("this is no checkpoint\n", encoding="utf-8")
    answer = reeldex(*arguments, "--dataset", "msrvtt")
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not Path("o", "last.pth").exists()
    reported = reeldex(*arguments, "--dataset", "msrvtt", "--json")
    assert said in reported.json["error"]


@pytest.mark.parametrize(
    "arguments", [("train", "--out", ""), ("evaluate", "--checkpoint", "a.pth", "--save-ranking", "")]
)
def test_a_path_that_is_empty_is_not_taken_for_the_present_folder(reeldex: Reeldex, arguments: tuple[str, ...]) -> None:
    answer = reeldex(*arguments, "--dataset", "msrvtt")
    assert answer.status == 2
    assert "the path is empty" in answer.err


def test_a_preset_of_the_configuration_is_in_the_way_of_no_evaluation(reeldex: Reeldex) -> None:
    Path("pipeline.yaml").write_text("train: {preset: verb-2}\n", encoding="utf-8")
    assert "is for the data set epic" in reeldex("train", "--dataset", "msrvtt", "--out", "o").err
    evaluated = reeldex("evaluate", "--dataset", "msrvtt", "--checkpoint", "none.pth")
    assert "no checkpoint at none.pth" in evaluated.err


@pytest.mark.slow
def test_features_of_another_kind_than_trained_on_are_refused(reeldex: Reeldex, tmp_path: Path) -> None:
    data = data_of(make_captioned(tmp_path / "one"))
    assert reeldex("train", *data, "--out", tmp_path / "a", *own_words(tmp_path), *TRAIN, "--epochs", 1).status == 0
    for kind, width in (("2d", 6), ("3d", 5)):
        (tmp_path / kind).mkdir()
        for name in KINDS:
            np.save(tmp_path / kind / f"{name}2.npy", np.ones((4, width), np.float16))
    folders = ("--features-2d", tmp_path / "2d", "--features-3d", tmp_path / "3d", "--rows-per-second", "1,1.5")
    evaluate = ("evaluate", "--dataset", "msrvtt", "--data", tmp_path / "one", *folders)
    answer = reeldex(*evaluate, "--checkpoint", tmp_path / "a" / "best.pth", "--word-cache", tmp_path / "cache")
    assert answer.status == 2
    assert "takes video vectors of 10 dimensions, and the features have 11" in answer.err


def test_two_trainings_into_one_folder_are_kept_apart(reeldex: Reeldex, tmp_path: Path) -> None:
    train = ("train", *data_of(make_captioned(tmp_path)), *own_words(tmp_path), *TRAIN, "--epochs", 1)
    (tmp_path / "run").mkdir()
    leftover = tmp_path / "run" / ".publishing-of-a-killed-one"
    leftover.touch()
    with hold_lock(tmp_path / "run", 0):
        answer = reeldex(*train, "--out", tmp_path / "run")
    assert answer.status == 2
    assert f"The training folder {tmp_path}/run is in use by process" in answer.err
    assert leftover.exists(), "it may be the other one's"
    assert reeldex(*train, "--out", tmp_path / "run").status == 0
    assert not leftover.exists()


def test_a_machine_without_memory_is_said_to_be_with_status_1(
    reeldex: Reeldex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    data = data_of(make_captioned(tmp_path))
    assert reeldex("train", *data, "--out", tmp_path / "a", *own_words(tmp_path), *TRAIN, "--epochs", 1).status == 0
    # A machine's memory cannot be filled here; the real step and the real reader raise the same.
    monkeypatch.setattr("reeldex.embedding.training.update.Update.__call__", full)
    monkeypatch.setattr("reeldex.embedding.datasets.records.EvaluationSet.videos", full)
    checkpoint = ("--checkpoint", tmp_path / "a" / "last.pth", "--word-cache", tmp_path / "cache")
    for command, setting in (
        (("train", *data, "--out", tmp_path / "b", *own_words(tmp_path), *TRAIN), "train.batch_size"),
        (("evaluate", *data, *checkpoint), "evaluate.batch_size"),
    ):
        answer = reeldex(*command)
        assert answer.status == 1
        assert "Unable to allocate 9 TiB" in answer.err
        assert f"lower {setting}" in answer.err
        assert "Traceback" not in answer.err
