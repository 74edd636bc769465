"""Training and evaluation on a table of one's own captions, and what is said of its words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reeldex.embedding.training.checkpoint import load_checkpoint
from tests.conftest import Reeldex
from tests.flows.captioned import KINDS, TRAIN, make_captioned, own_words

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_from_a_table_of_captions_to_figures(reeldex: Reeldex, tmp_path: Path) -> None:
    make_captioned(tmp_path)
    videos = [f"{kind}{number}" for kind in KINDS for number in range(3)]
    rows = [f"{video}.mp4,0:00,00:00:03.5,the {video[:-1]} one" for video in videos]
    (tmp_path / "my.csv").write_text("\n".join(["video,start,end,text", *rows, "red0,0,2,NaN"]))
    data = ("--dataset", "captions", "--captions", tmp_path / "my.csv", "--store", tmp_path / "store")
    words = own_words(tmp_path)
    trained = reeldex("train", *data, *words, *TRAIN, "--epochs", 2, "--out", tmp_path / "run", "--json")
    assert trained.status == 0, trained.err
    assert (trained.json["samples"], trained.json["unusable_rows"]) == (16, 1)
    assert "captions of captions: 0.0 % of 48 words and 0.0 % of 16 sentences have no word vector" in trained.err

    # A plain state dict does not say which word vectors it was trained with.
    torch.save(dict(load_checkpoint(tmp_path / "run" / "last.pth").weights), tmp_path / "plain.pth")
    vectors = "".join(f"{word} {' '.join(['0.5'] * 7)} {at}\n" for at, word in enumerate([*KINDS, "the"]))
    (tmp_path / "words.txt").write_text(vectors)
    given = ("--word-vectors", tmp_path / "words.txt", "--word-cache", tmp_path / "cache")
    evaluate = ("evaluate", *data, "--split", 0.3, "--checkpoint", tmp_path / "plain.pth", *given)
    refused = reeldex(*evaluate)
    assert refused.status == 2
    assert "--word-vectors-unchecked" in refused.err
    answer = reeldex(*evaluate, "--word-vectors-unchecked")
    assert answer.status == 0, answer.err
    assert "captions: 33.3 % of 15 words and 0.0 % of 5 sentences have no word vector (most often: one)" in answer.out
    assert "WARNING captions: 33.3 %" in answer.err
    found = json.loads((tmp_path / "plain.captions.json").read_text())["sets"]["captions"]
    assert (found["sentences"], found["unusable_rows"], found["words"]["words_without_vector"]) == (5, 1, 5)

    (tmp_path / "words.txt").write_text("one 1 1 1 1 1 1 1 1\neins 1 1 1 1 1 1 1 2\n")
    unknown = reeldex(*evaluate, "--word-vectors-unchecked")
    assert unknown.status == 2
    assert "66.7 % of 15 words" in unknown.err
    assert "Most of the captions would be ignored" in unknown.err


def test_the_table_belongs_to_its_data_set(reeldex: Reeldex) -> None:
    for flag in (("--captions", "my.csv"), ("--split", "0.2")):
        answer = reeldex("train", "--dataset", "msrvtt", "--out", "o", *flag)
        assert (answer.status, f"{flag[0]} requires --dataset captions" in answer.err) == (2, True)
