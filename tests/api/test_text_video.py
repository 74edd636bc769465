"""TextVideoModel embeds as evaluation and search do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import reeldex
from reeldex.embedding.errors import CheckpointMismatchError, FeaturesError
from reeldex.embedding.words.vectors import WordVectors
from reeldex.errors import UsageError
from reeldex.storage.schema import FeatureRows
from tests.search.library import SPACES, SPEC, Library, eight_videos, make_library, write_checkpoint

VIDEO = "part0/video2.mp4"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return make_library(tmp_path_factory.mktemp("library"), eight_videos())


@pytest.fixture(scope="module")
def model(library: Library) -> reeldex.TextVideoModel:
    return reeldex.TextVideoModel.load(library.checkpoint, word_vectors=library.words, device="cpu")


def rows_of(library: Library, video_id: str = VIDEO) -> tuple[FeatureRows, FeatureRows]:
    store = library.store
    return store.rows(SPACES[0].name, video_id), store.rows(SPACES[1].name, video_id)


def test_moments_and_sentences_score_as_in_search(library: Library, model: reeldex.TextVideoModel) -> None:
    library.build()
    sentence = "chop the onion"
    text = model.embed_text([sentence])[0]
    store = library.store
    with reeldex.SearchIndex.open(library.folder / "index") as index:
        found = index.search(sentence, k=25, merge=False).moments
        assert len(found) > 10
        for moment in found:
            span = (moment.start_seconds, moment.end_seconds)
            (stored,) = model.embed_moments(store, moment.video_id, [span])
            held = model.embed_video(*rows_of(library, moment.video_id), span_seconds=span)
            assert stored.tobytes() == held.tobytes()
            # An index holds float16.
            assert text @ stored == pytest.approx(moment.score, abs=1e-3)


def test_embeddings_are_those_of_the_model(library: Library, model: reeldex.TextVideoModel) -> None:
    (text,) = model.embed_text(["boil water"])
    assert text.dtype == np.float32
    np.testing.assert_allclose(text, library.sentence("boil water"), atol=1e-6)
    for video_id, window, embedding in library.brute_force()[:20]:
        (ours,) = model.embed_moments(library.store, video_id, [(window.start_seconds, window.end_seconds)])
        np.testing.assert_allclose(ours, embedding, atol=1e-3)
        assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-6)


def test_a_whole_video_from_arrays_or_rows_with_times(library: Library, model: reeldex.TextVideoModel) -> None:
    first, second = rows_of(library)
    whole = model.embed_video(first, second)
    assert whole.shape == (SPEC.embed_dim,) == (model.embed_dim,)
    assert whole.dtype == np.float32
    assert model.embed_video(first.rows, second.rows).tobytes() == whole.tobytes()
    span = (0.0, first.duration_seconds or 0.0)
    assert model.embed_video(first, second, span_seconds=span).tobytes() == whole.tobytes()


def test_word_vectors_lie_beside_the_checkpoint_or_are_asked_for(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model.pth")
    with pytest.raises(UsageError, match=r"word vectors"):
        reeldex.TextVideoModel.load(tmp_path / "model.pth")
    text = "\n".join(f"{word} {at} 1 0 0 {at}" for at, word in enumerate(("chop", "onion")))
    (tmp_path / "words.txt").write_text(f"2 5\n{text}\n")
    model = reeldex.TextVideoModel.load(tmp_path / "model.pth", word_vectors=tmp_path / "words.txt")
    assert model.embed_text(["chop", "onion"]).shape == (2, SPEC.embed_dim)
    assert repr(model).startswith("TextVideoModel(embed_dim=24, video_dim=16, words=2, device=")


def test_what_cannot_be_embedded_is_refused(library: Library, model: reeldex.TextVideoModel) -> None:
    first, second = rows_of(library)
    assert model.embed_text([]).shape == (0, SPEC.embed_dim)
    with pytest.raises(UsageError, match="takes a list"):
        model.embed_text("chop")
    with pytest.raises(UsageError, match="'zzz' is in the vocabulary"):
        model.embed_text(["chop", "zzz"])
    with pytest.raises(UsageError, match="rows with times"):
        model.embed_video(first.rows, second.rows, span_seconds=(0, 1))
    with pytest.raises(UsageError, match="no rows from 900 to 901 s"):
        model.embed_video(first, second, span_seconds=(900, 901))
    for span in ((3, 1), (-1, 1), (0, np.nan), (0, 1, 2), 5, ("a", "b")):
        with pytest.raises(UsageError, match="A span "):
            model.embed_video(first, second, span_seconds=span)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="A span "):
            model.embed_moments(library.store, VIDEO, [span])  # type: ignore[list-item]
    for sentence in (None, 5, ["chop"]):
        with pytest.raises(UsageError, match="A sentence must be a string"):
            model.embed_text([sentence])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="no rows from 900 to 901 s"):
        model.embed_moments(library.store, VIDEO, [(0, 1), (900, 901)])
    with pytest.raises(UsageError, match=r"2d features must be \(R, D\)"):
        model.embed_video(first.rows[0], second.rows)
    with pytest.raises(CheckpointMismatchError, match="16 dimensions"):
        model.embed_video(second, second)
    broken = first.rows.copy()
    broken[1, 1] = np.nan
    with pytest.raises(FeaturesError, match="NaN"):
        model.embed_video(broken, second.rows)


def test_sentences_and_spans_may_be_any_sequences(library: Library, model: reeldex.TextVideoModel) -> None:
    text = model.embed_text(["chop", "boil water"])
    assert np.array_equal(model.embed_text(each for each in ("chop", "boil water")), text)
    assert np.array_equal(model.embed_text(np.array(["chop", "boil water"])), text)
    moments = model.embed_moments(library.store, VIDEO, [(0.0, 1.0), (0.0, 2.0)])
    assert np.array_equal(model.embed_moments(library.store, VIDEO, np.array([[0, 1], [0, 2]])), moments)
    assert np.array_equal(model.embed_moments(library.store, VIDEO, [[0, 1], [0, 2]]), moments)  # type: ignore[list-item]
    assert model.embed_moments(library.store, VIDEO, np.zeros((0, 2))).shape == (0, SPEC.embed_dim)


def test_features_and_words_of_another_training_are_refused(library: Library, tmp_path: Path) -> None:
    origin = {"2d": {"space": "resnet152.other", "fingerprint": {}}}
    write_checkpoint(tmp_path / "other.pth", features=origin)
    other = reeldex.TextVideoModel.load(tmp_path / "other.pth", word_vectors=library.words)
    with pytest.raises(CheckpointMismatchError, match=r"resnet152\.other"):
        other.embed_moments(library.store, VIDEO, [(0, 1)])
    write_checkpoint(tmp_path / "words.pth", word_vectors="other words")
    words: WordVectors = library.words
    with pytest.raises(CheckpointMismatchError, match="word vectors"):
        reeldex.TextVideoModel.load(tmp_path / "words.pth", word_vectors=words)
