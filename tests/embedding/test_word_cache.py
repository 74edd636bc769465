from __future__ import annotations

import logging
import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reeldex.embedding.errors import WordVectorsError
from reeldex.embedding.words import cache as word_cache
from reeldex.embedding.words import word2vec
from reeldex.embedding.words.vectors import WordVectors
from reeldex.embedding.words.word2vec import open_word_vectors
from tests.embedding.word_sources import WORDS, opened, save
from tests.system_faults import no_more_files

if TYPE_CHECKING:
    from gensim.models import KeyedVectors


def test_a_second_start_reads_neither_the_source_nor_gensim(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(source)

    def fail(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(word2vec, "_read_with_gensim", fail)
    monkeypatch.setattr(word2vec, "_content_sha256", fail)
    assert len(opened(source)) == len(WORDS)


def test_a_touched_source_is_hashed_and_not_converted_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(source)
    os.utime(source, ns=(1, 1))
    monkeypatch.setattr(word2vec, "_read_with_gensim", lambda *_: pytest.fail("converted again"))
    assert len(opened(source)) == len(WORDS)
    monkeypatch.setattr(word2vec, "_content_sha256", lambda _: pytest.fail("hashed again"))
    assert len(opened(source)) == len(WORDS)


def test_a_changed_source_is_converted_again(source: Path, keyed: KeyedVectors) -> None:
    before = opened(source)
    keyed.add_vectors(["onion"], np.ones((1, 8), dtype=np.float32))
    keyed.save_word2vec_format(str(source), binary=True)
    after = opened(source)
    assert "onion" in after
    assert after.fingerprint != before.fingerprint
    assert "onion" not in before, "what was open stays as it was"


@pytest.mark.parametrize("damage", ["cut short", "other magic", "emptied", "other header"])
def test_a_damaged_cache_is_made_again(source: Path, damage: str) -> None:
    cache = opened(source).cache
    content = cache.read_bytes()
    damaged = {
        "cut short": content[:-5],
        "other magic": b"x" + content[1:],
        "emptied": b"",
        "other header": content[:16] + (2).to_bytes(8, "little") + b"[]" + content[26:],
    }
    cache.write_bytes(damaged[damage])
    with pytest.raises(WordVectorsError, match="not an intact cache of word vectors"):
        WordVectors(cache)
    assert list(opened(source)) == WORDS


def test_a_cache_that_the_system_does_not_let_us_read_is_not_made_again(source: Path) -> None:
    cache = opened(source).cache
    for use in (lambda: WordVectors(cache), lambda: word_cache.cache_fingerprint(cache)):
        with no_more_files(), pytest.raises(OSError, match="Too many open files"):
            use()
    assert list(WordVectors(cache)) == WORDS


def test_a_conversion_that_is_killed_leaves_no_cache(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(word_cache, "write_arrays", die)
    with pytest.raises(KeyboardInterrupt):
        opened(source)
    assert list((source.parent / "cache").iterdir()) == []


def test_the_fingerprint_is_the_source_file_s_own_hash(source: Path) -> None:
    import hashlib

    assert opened(source).fingerprint == hashlib.sha256(source.read_bytes()).hexdigest()


def test_the_fingerprint_covers_arrays_stored_beside(tmp_path: Path, keyed: KeyedVectors) -> None:
    save(keyed, tmp_path / "v.kv", "gensim with arrays beside")
    before = opened(tmp_path / "v.kv").fingerprint
    keyed.vectors[0] += 1
    np.save(tmp_path / "v.kv.vectors.npy", keyed.vectors)
    assert opened(tmp_path / "v.kv").fingerprint != before


def test_pickled_vectors_hand_on_the_path_alone(source: Path) -> None:
    found = opened(source)
    written = pickle.dumps(found)
    assert len(written) < 500
    assert list(pickle.loads(written)) == WORDS  # noqa: S301 - written just above


def test_pages_are_those_of_the_file(source: Path) -> None:
    found = opened(source)
    assert not found.matrix.flags.writeable
    assert str(found.cache) in Path("/proc/self/maps").read_text()


def test_many_words_are_all_found_and_no_other(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(20_000)]
    word_cache.write_cache(tmp_path / "w", words, np.arange(20_000, dtype=np.float32)[:, None], "f")
    found = WordVectors(tmp_path / "w")
    assert [float(found.vector(word)[0]) for word in words] == list(range(20_000))
    assert not any(f"other{number}" in found for number in range(20_000))


def test_one_word_is_a_vocabulary_too(tmp_path: Path) -> None:
    word_cache.write_cache(tmp_path / "w", ["lone"], np.ones((1, 2)), "f")
    assert ["lone" in WordVectors(tmp_path / "w"), "other" in WordVectors(tmp_path / "w")] == [True, False]
    with pytest.raises(ValueError, match="2 words need a matrix"):
        word_cache.write_cache(tmp_path / "w", ["a", "b"], np.ones((1, 2)), "f")


def test_a_folder_that_cannot_be_written_is_said(source: Path) -> None:
    (source.parent / "file").write_text("x")
    with pytest.raises(
        WordVectorsError,
        match=r"cannot be written to .*Select another folder with words.cache_folder or XDG_CACHE_HOME",
    ):
        open_word_vectors(source, cache_folder=source.parent / "file")


def test_the_cache_s_default_place_follows_the_user_s_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert word2vec.default_cache_folder() == tmp_path / "reeldex/word-vectors"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert word2vec.default_cache_folder() == Path.home() / ".cache/reeldex/word-vectors"


def test_conversion_is_logged(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="reeldex.embedding.words.word2vec"):
        opened(source)
        opened(source)
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_without_gensim_a_cached_file_opens_and_another_says_what_to_do(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(source)
    # As on a Python for which gensim is not published.
    monkeypatch.setitem(sys.modules, "gensim", None)
    assert len(opened(source)) == len(WORDS)
    (tmp_path / "other.bin").write_bytes(source.read_bytes())
    with pytest.raises(WordVectorsError, match=r"gensim, .*is not available.*Python 3\.11 to 3\.13"):
        opened(tmp_path / "other.bin")
    with pytest.raises(WordVectorsError, match="is not available"):
        word2vec.train_word_vectors(["cut it"] * 9, tmp_path / "trained.bin")
    assert not (tmp_path / "trained.bin").exists()
