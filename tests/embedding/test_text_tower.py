"""The text tower in NumPy against its slow twin in PyTorch, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.embedding.text_tower import TextTower, TextTowerError
from reeldex.embedding.words.cache import write_cache
from reeldex.embedding.words.vectors import WordVectors

SPEC = ModelSpec(video_dim=6, embed_dim=48, word_dim=10, sentence_dim=32, max_words=4)
VOCABULARY = ("chop", "the", "onion", "finely", "and", "fry")
SENTENCES = (
    "chop",
    "chop the onion",
    "chop the onion finely and fry the onion",
    "an unknown onion",
    "nothing, known; here?",
    "",
    "onion " * 30,
)


@pytest.fixture
def words(tmp_path: Path) -> WordVectors:
    vectors = np.random.default_rng(2).normal(size=(len(VOCABULARY), SPEC.word_dim)).astype(np.float32)
    write_cache(tmp_path / "words", VOCABULARY, vectors, "random")
    return WordVectors(tmp_path / "words")


@pytest.fixture
def model() -> TextVideoEmbedding:
    torch.manual_seed(3)
    return TextVideoEmbedding(SPEC).eval()


def test_sentences_get_the_embeddings_of_the_model(words: WordVectors, model: TextVideoEmbedding) -> None:
    tower = TextTower.from_weights(model.state_dict(), SPEC.max_words)
    with torch.inference_mode():
        expected = model.embed_sentences(torch.from_numpy(words.sentence_vectors(SENTENCES, SPEC.max_words))).numpy()
    together = tower.embed(words, SENTENCES)
    alone = np.concatenate([tower.embed(words, [sentence]) for sentence in SENTENCES])
    many = tower.embed(words, SENTENCES * 20)
    assert together.dtype == np.float32
    assert np.abs(together - expected).max() < 1e-6
    assert np.abs(alone - expected).max() < 1e-6
    assert np.abs(many - np.tile(expected, (20, 1))).max() < 1e-6


def test_a_saved_tower_is_mapped_and_gives_the_same_bits(
    words: WordVectors, model: TextVideoEmbedding, tmp_path: Path
) -> None:
    tower = TextTower.from_weights(model.state_dict(), SPEC.max_words)
    tower.save(tmp_path / "tower")
    opened = TextTower.open(tmp_path / "tower")
    assert opened.max_words == SPEC.max_words
    assert not opened.joint[0].flags.writeable
    assert np.array_equal(opened.embed(words, SENTENCES), tower.embed(words, SENTENCES))


@pytest.mark.parametrize("damage", ["cut short", "another file", "absent"])
def test_a_damaged_file_is_refused(model: TextVideoEmbedding, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "tower"
    TextTower.from_weights(model.state_dict(), SPEC.max_words).save(path)
    content = path.read_bytes()
    path.unlink()
    if damage != "absent":
        path.write_bytes(content[:-1] if damage == "cut short" else b"reeldex-words 1\n" + content[16:])
    with pytest.raises(TextTowerError, match="does not hold a text tower"):
        TextTower.open(path)


def test_weights_that_do_not_fit_are_refused(model: TextVideoEmbedding) -> None:
    state = {**model.state_dict(), "GU_text.cg.fc.weight": torch.zeros(48, 47)}
    with pytest.raises(TextTowerError, match=r"the shapes \(48, 47\) and \(48,\) of `gate` do not fit"):
        TextTower.from_weights(state, SPEC.max_words)
