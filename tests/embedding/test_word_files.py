from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors, Word2Vec

from reeldex.embedding.errors import WordVectorsError
from reeldex.embedding.options import WordFormat
from reeldex.embedding.words.files import detect_format
from reeldex.embedding.words.word2vec import _read_with_gensim, open_word_vectors
from tests.embedding.test_unpickling import ADDRESS, Elements, Hostile
from tests.embedding.word_sources import WORDS, opened, save
from tests.system_faults import make_unreadable


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("binary", "v.bin"),
        ("binary gz", "v.bin.gz"),
        ("text", "v.txt"),
        ("text bz2", "v.txt.bz2"),
        ("text without counts", "v.txt"),
        ("gensim", "v.kv"),
        ("gensim with arrays beside", "v.kv"),
        ("whole model", "v.model"),
    ],
)
def test_all_formats_are_detected_and_read(tmp_path: Path, keyed: KeyedVectors, kind: str, name: str) -> None:
    save(keyed, tmp_path / name, kind)
    found = opened(tmp_path / name)
    assert sorted(found) == sorted(WORDS)
    for word in WORDS:
        np.testing.assert_allclose(found.vector(word), keyed[word], rtol=1e-6 if "text" in kind else 0)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_a_pickle_that_asks_for_more_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyed: KeyedVectors
) -> None:
    monkeypatch.chdir(tmp_path)
    keyed.extra = Malicious()
    (tmp_path / "bad.kv").write_bytes(pickle.dumps(keyed))
    with pytest.raises(WordVectorsError, match=r"bad\.kv asks for posix\.system, .* not run"):
        opened(tmp_path / "bad.kv")
    assert not (tmp_path / "executed").exists()


class Made:
    """Pickles as a call of one of gensim's classes."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Word2Vec, (None, "/etc/hostname")


def test_a_pickle_makes_none_of_gensim_s_objects_from_arguments(tmp_path: Path, keyed: KeyedVectors) -> None:
    keyed.extra = Made()
    (tmp_path / "bad.kv").write_bytes(pickle.dumps(keyed))
    with pytest.raises(WordVectorsError, match=r"bad\.kv is not an intact pickle: a Word2Vec is made from arguments"):
        opened(tmp_path / "bad.kv")


@pytest.mark.parametrize("within", ["vectors", "model"])
def test_pickles_beside_a_pickle_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyed: KeyedVectors, within: str
) -> None:
    monkeypatch.chdir(tmp_path)
    vars(keyed)["__scipys"] = ["beside"]
    model = Word2Vec([WORDS], vector_size=8, min_count=1)
    model.wv = keyed
    vars(model)["__recursive_saveloads"] = ["wv"]
    (tmp_path / "bad.kv").write_bytes(pickle.dumps(keyed if within == "vectors" else model))
    for name in ("bad.kv.beside", "bad.kv.wv.beside"):
        (tmp_path / name).write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(WordVectorsError, match=r"bad\.kv refers to pickles beside it, .*they were not opened"):
        opened(tmp_path / "bad.kv")
    assert not (tmp_path / "executed").exists()


def test_addresses_in_gensim_s_pickles_are_never_followed(tmp_path: Path, keyed: KeyedVectors) -> None:
    keyed.extra = Hostile(Elements("O8", None, None, None, -1, -1), ADDRESS)
    (tmp_path / "bad.kv").write_bytes(pickle.dumps(keyed))
    with pytest.raises(WordVectorsError, match=r"bad\.kv is not an intact pickle"):
        opened(tmp_path / "bad.kv")


def test_vectors_under_their_older_name_are_read(tmp_path: Path, keyed: KeyedVectors) -> None:
    content = pickle.dumps(keyed, protocol=2).replace(b"\nKeyedVectors\n", b"\nWord2VecKeyedVectors\n")
    assert b"\nWord2VecKeyedVectors\n" in content
    (tmp_path / "old.kv").write_bytes(content)
    assert list(opened(tmp_path / "old.kv")) == WORDS


def test_vectors_of_anything_but_words_are_said(tmp_path: Path) -> None:
    numbered = KeyedVectors(2)
    numbered.add_vectors([7, 8], np.ones((2, 2), dtype=np.float32))
    numbered.save(str(tmp_path / "v.kv"))
    with pytest.raises(WordVectorsError, match=r"v\.kv has vectors whose keys are not words"):
        opened(tmp_path / "v.kv")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vectors": np.ones((2, 8), dtype=np.float32)}, r"has 7 words and vectors of shape \(2, 8\)"),
        ({"vectors": np.array([["x"]] * 7)}, "lacks the words or the vectors"),
        ({"vectors": None}, "lacks the words or the vectors"),
        ({"index_to_key": None}, "lacks the words or the vectors"),
        ({"index_to_key": []}, "holds no word vectors"),
    ],
)
def test_words_and_vectors_that_do_not_fit_are_said(
    tmp_path: Path, keyed: KeyedVectors, changes: dict[str, object], said: str
) -> None:
    vars(keyed).update(changes)
    (tmp_path / "v.kv").write_bytes(pickle.dumps(keyed))
    with pytest.raises(WordVectorsError, match=rf"v\.kv.* {said}"):
        opened(tmp_path / "v.kv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a known format of word vectors"),
        (b"PK\x03\x04 a zip", "not a known format of word vectors"),
        (b"3 8\ncut 1 2", "not an intact file of word vectors"),
        (b"0 8\n", "no"),
        (b"\x80\x04garbage", "not an intact pickle"),
        (b"99999999999999 300\ncut \x00", "not an intact file of word vectors"),
        (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "not an intact pickle"),
        (pickle.dumps({"a": 1}), "contains a dict, not word vectors"),
    ],
)
def test_what_is_no_file_of_word_vectors_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(WordVectorsError, match=said):
        opened(tmp_path / "v")


def test_a_binary_file_that_breaks_off_is_said(source: Path) -> None:
    source.write_bytes(source.read_bytes()[:-40])
    with pytest.raises(WordVectorsError, match="read as binary format, is not an intact file"):
        opened(source)


def test_an_absent_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(WordVectorsError, match=r"There are no word vectors at .*GoogleNews"):
        opened(tmp_path / "absent.bin")


def test_a_named_format_is_believed(source: Path) -> None:
    assert detect_format(source) is WordFormat.BINARY
    with pytest.raises(WordVectorsError, match="read as text format"):
        open_word_vectors(source, cache_folder=source.parent / "cache", file_format=WordFormat.TEXT)


@pytest.mark.parametrize(("kind", "format_"), [("binary", WordFormat.BINARY), ("gensim", WordFormat.GENSIM)])
def test_word_vectors_on_a_broken_disk_are_not_called_damaged(
    tmp_path: Path, keyed: KeyedVectors, kind: str, format_: WordFormat
) -> None:
    source = tmp_path / "vectors"
    save(keyed, source, kind)
    make_unreadable(source)
    with pytest.raises(WordVectorsError, match=r"cannot be read: Input/output error.*not known to be damaged"):
        _read_with_gensim(source, format_)
