from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from reeldex.embedding.datasets.caption_stream import CaptionStream
from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.records import ClipTrainingSet
from reeldex.embedding.errors import CheckpointMismatchError, WordVectorsError
from reeldex.embedding.evaluation.evaluate import evaluate_retrieval
from reeldex.embedding.evaluation.tables import report_json, retrieval_table
from reeldex.embedding.training.checkpoint import load_checkpoint, require_known_word_vectors
from reeldex.embedding.training.train import new_model
from reeldex.embedding.words.cache import write_cache
from reeldex.embedding.words.coverage import measure_coverage, report_coverage
from reeldex.embedding.words.published import is_google_news
from reeldex.embedding.words.vectors import WordVectors
from tests.embedding import synthetic
from tests.embedding.synthetic_sets import synthetic_set


def vectors(folder: Path, words: list[str], dim: int = 4) -> WordVectors:
    write_cache(folder / "v.words", words, np.ones((len(words), dim), np.float32), "v")
    return WordVectors(folder / "v.words")


def test_words_and_sentences_without_a_vector_are_counted(tmp_path: Path) -> None:
    found = measure_coverage(
        ["the red fox", "Fox, fox!", "...", "unheard of"], vectors(tmp_path, ["the", "red", "fox"])
    )
    assert (found.words, found.unknown_words, found.sentences, found.wordless_sentences) == (7, 3, 4, 2)
    assert (found.unknown_share, found.wordless_share) == (3 / 7, 0.5)
    assert found.frequent_unknown == ("Fox", "unheard", "of")
    assert found.known_in_lower_case == 1
    assert "42.9 % of 7 words and 50.0 % of 4 sentences have no word vector (most often: Fox" in str(found)
    assert "1 word would have one in lower case" in str(found)


def test_vectors_with_capitals_are_not_called_lower_case(tmp_path: Path) -> None:
    found = measure_coverage(["FOX Fox fox"], vectors(tmp_path, ["fox", "Fox"]))
    assert (found.unknown_words, found.known_in_lower_case) == (1, 0)
    assert "lower case" not in str(found)


@pytest.mark.parametrize(
    ("unknown", "level"), [(0, logging.INFO), (5, logging.INFO), (6, logging.WARNING), (50, logging.WARNING)]
)
def test_above_five_percent_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, unknown: int, level: int
) -> None:
    caplog.set_level(logging.INFO)
    captions = [" ".join(["unheard"] * unknown + ["fox"] * (100 - unknown))]
    report_coverage("mine", measure_coverage(captions, vectors(tmp_path, ["fox"])))
    assert [record.levelno for record in caplog.records] == [level]
    assert f"mine: {unknown}.0 % of 100 words" in caplog.text


@pytest.mark.parametrize("captions", [["fox unheard unheard"], ["fox fox fox fox", "...", "!"]])
def test_mostly_unknown_captions_are_refused(tmp_path: Path, captions: list[str]) -> None:
    with pytest.raises(WordVectorsError, match=r"mine: .* have no word vector.*Most of the captions would be ignored"):
        report_coverage("mine", measure_coverage(captions, vectors(tmp_path, ["fox"])))


def test_table_and_json_say_it(tmp_path: Path) -> None:
    model = new_model(synthetic.SPEC, 1)
    result = evaluate_retrieval(model, [synthetic_set()], synthetic.word_vectors(tmp_path))[0]
    assert "0.0 % of 72 words and 0.0 % of 24 sentences have no word vector." in str(retrieval_table([result]))
    sets = json.loads(json.dumps(report_json([result], {})["sets"]))
    assert sets["synthetic"]["words"]["share_of_words_without_vector"] == 0
    assert sets["synthetic"]["words"]["words"] == 72


def test_a_part_of_the_samples_is_spread_over_the_set() -> None:
    groups = [[Clip(f"red-{at}", f"red-{at}", (f"said {at}",))] for at in range(10)]
    samples = ClipTrainingSet("x", groups, synthetic.KindReader())
    assert list(CaptionStream(samples, 3)) == ["said 0", "said 3", "said 6"]
    assert len(list(CaptionStream(samples, 99))) == len(list(CaptionStream(samples))) == 10


def test_a_plain_state_dict_needs_googlenews_or_a_statement(tmp_path: Path) -> None:
    torch.save(new_model(synthetic.SPEC, 1).state_dict(), tmp_path / "plain.pth")
    plain = load_checkpoint(tmp_path / "plain.pth")
    words = synthetic.word_vectors(tmp_path)
    with pytest.raises(CheckpointMismatchError, match=r"plain state dict.*--word-vectors-unchecked"):
        require_known_word_vectors(plain, words, unchecked=False)
    require_known_word_vectors(plain, words, unchecked=True)
    published = np.zeros((2, 300), np.float32)
    published[1, :7] = [0.107421875, -0.201171875, 0.12304688, 0.21191406, -0.091308594, 0.21679688, -0.13183594]
    write_cache(tmp_path / "g.words", ["the", "computer"], published, "x")
    require_known_word_vectors(plain, WordVectors(tmp_path / "g.words"), unchecked=False)
    published[1, 3] += 0.001
    write_cache(tmp_path / "h.words", ["the", "computer"], published, "x")
    assert not is_google_news(WordVectors(tmp_path / "h.words"))
