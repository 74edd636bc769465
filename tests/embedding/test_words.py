from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.errors import WordVectorsError
from reeldex.embedding.options import WordTraining
from reeldex.embedding.words.vectors import tokenise
from reeldex.embedding.words.word2vec import train_word_vectors
from tests.embedding.word_sources import WORDS, opened


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Cut the ONION, then don't cry.", ["Cut", "the", "ONION", "then", "don't", "cry"]),
        ("well-done_twice 3x", ["well", "done_twice", "3x"]),
        ("häuten 刀!", ["häuten", "刀"]),
        ("...", []),
        ("", []),
        (float("nan"), []),
        (np.float32("nan"), []),
        (None, []),
        ("nan bread", ["nan", "bread"]),
        (12, ["12"]),
    ],
)
def test_words_of_a_sentence(sentence: object, words: list[str]) -> None:
    assert tokenise(sentence) == words


def test_binary_vectors_come_back_exactly(
    source: Path, vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]
) -> None:
    found = opened(source)
    assert list(found) == WORDS
    assert (len(found), found.dim) == (len(WORDS), 8)
    assert np.array_equal(found.matrix, vectors)
    assert np.array_equal(found.vector("刀"), vectors[4])
    assert "don't" in found
    assert "DON'T" not in found
    assert 3 not in found
    with pytest.raises(KeyError, match="onion"):
        found.vector("onion")


def test_sentences_are_the_first_known_words_and_zeros(source: Path) -> None:
    found = opened(source)
    sentences = found.sentence_vectors(
        ["cut the onion in New_York, don't cut", "", "the", "in in in in in"], max_words=4
    )
    assert sentences.shape == (4, 4, 8)
    assert sentences.dtype == np.float32
    wanted = [found.vector(word) for word in ("cut", "in", "New_York", "don't")]
    assert np.array_equal(sentences[0], wanted)
    assert not sentences[1:3].any()
    assert np.array_equal(sentences[3], [found.vector("in")] * 4)
    assert found.sentence_vectors([]).shape == (0, 20, 8)
    with pytest.raises(ValueError, match="max_words must be at least 1"):
        found.sentence_vectors(["cut"], max_words=0)


def test_unknown_words_are_counted(source: Path) -> None:
    assert opened(source).unknown_words(["cut the onion", "peel the 刀"]) == {"the": 2, "onion": 1, "peel": 1}


def test_memory_of_words_is_bounded_and_changes_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reeldex.embedding.words.vectors._REMEMBERED_WORDS", 3)
    found = opened(source)
    for _ in range(3):
        assert [word in found for word in (*WORDS, "onion")] == [True] * len(WORDS) + [False]
    assert len(found._remembered) <= 3


CAPTIONS = ["cut the red onion", "peel the green onion", "don't cut the Red one"] * 30


@pytest.mark.slow
def test_trained_vectors_are_the_same_in_every_process(tmp_path: Path) -> None:
    how = WordTraining(dim=12, epochs=3)
    train_word_vectors((caption for caption in CAPTIONS), tmp_path / "a.bin", how)
    script = (
        "from pathlib import Path\n"
        "from reeldex.embedding.options import WordTraining\n"
        "from reeldex.embedding.words.word2vec import train_word_vectors\n"
        "from tests.embedding.test_words import CAPTIONS\n"
        f"train_word_vectors(CAPTIONS, Path({str(tmp_path / 'b.bin')!r}), WordTraining(dim=12, epochs=3))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=Path(__file__).parents[2])
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    found = opened(tmp_path / "a.bin")
    assert set(found) == {"cut", "the", "red", "onion", "peel", "green", "don't", "Red", "one"}
    assert found.dim == 12


def test_rare_words_get_no_vector_and_too_few_are_said(tmp_path: Path) -> None:
    train_word_vectors(["a b", "a c"], tmp_path / "v.bin", WordTraining(dim=4, min_count=2))
    assert list(opened(tmp_path / "v.bin")) == ["a"]
    with pytest.raises(WordVectorsError, match="No word occurs 3 times"):
        train_word_vectors(["a b", "a c"], tmp_path / "v.bin", WordTraining(min_count=3))
    with pytest.raises(ValueError, match="epochs"):
        WordTraining(epochs=0)
