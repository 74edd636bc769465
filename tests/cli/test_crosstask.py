"""`reeldex evaluate --dataset crosstask`, and a training that watches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Reeldex
from tests.embedding.crosstask_files import TASKS, write_crosstask
from tests.flows.captioned import TRAIN, data_of, make_captioned, own_words

pytestmark = pytest.mark.slow

KNOWN = {"105222": ("red one", "the green", "blue"), "16815": ("the round one", "square"), "999": ("striped",)}


@pytest.mark.slow
def test_crosstask_from_a_command_to_its_table_and_report(reeldex: Reeldex, tmp_path: Path) -> None:
    data = data_of(make_captioned(tmp_path))
    (tmp_path / "crosstask").mkdir()
    write_crosstask(tmp_path / "crosstask", KNOWN)
    watched = [
        f"--set=datasets.crosstask.folder={tmp_path}/crosstask",
        f"--set=datasets.crosstask.features={{store: {tmp_path}/crosstask/store}}",
    ]
    train = ("train", *data, "--out", tmp_path / "run", *own_words(tmp_path), *TRAIN, "--epochs", 1)
    answer = reeldex(*train, *watched, "--evaluate-on", "crosstask,msrvtt", "--json")
    assert answer.status == 0, answer.err
    assert "crosstask: average recall" in answer.err
    during = answer.json["evaluation"]["sets"]["crosstask"]["average_recall"]

    evaluate = ("evaluate", "--checkpoint", tmp_path / "run" / "best.pth", "--word-cache", tmp_path / "cache")
    own = ("--dataset", "crosstask", "--store", tmp_path / "crosstask" / "store", "--data", tmp_path / "crosstask")
    answer = reeldex(*evaluate, *own, "--json")
    assert answer.status == 0, answer.err
    held = answer.json["sets"]["crosstask"]
    assert held["average_recall"] == during
    assert [task["task_id"] for task in held["tasks"]] == list(TASKS)
    assert (tmp_path / "run" / "best.crosstask.json").is_file()
    shown = reeldex(*evaluate, *own).out
    for said in (
        "Step localization with",
        "Task 105222",
        f"{100 * during:.1f}",
        "published average: HowTo100M",
        "33.6",
    ):
        assert said in shown
    assert "R@1" not in shown
    inclusive = reeldex(*evaluate, *own, "--set", "datasets.crosstask.inclusive_end=true", "--json")
    assert inclusive.json["sets"]["crosstask"]["average_recall"] >= held["average_recall"]

    refused = reeldex(*evaluate, *own, "--save-ranking", tmp_path / "r.csv")
    assert (refused.status, "crosstask has none" in refused.err) == (2, True)
    refused = reeldex(*evaluate, "--dataset", "crosstask", "--data", "published")
    assert (refused.status, "but not crosstask" in refused.err) == (2, True)
    refused = reeldex("train", "--dataset", "crosstask", "--out", tmp_path / "x")
    assert refused.status == 2
