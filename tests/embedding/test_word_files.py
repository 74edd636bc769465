from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reeldex.embedding.errors import WordVectorsError
from reeldex.embedding.options import WordFormat
from reeldex.embedding.words.files import detect_format
from reeldex.embedding.words.word2vec import _read, open_word_vectors
from tests.embedding.test_unpickling import ADDRESS, Elements, Hostile
from tests.embedding.word_sources import WORDS, opened, save
from tests.system_faults import make_unreadable

if TYPE_CHECKING:
    from gensim.models import KeyedVectors


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
        ("text with spaces at the end", "v.vec"),
        ("text with tabs", "v.txt"),
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
        from gensim.models import Word2Vec

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
    from gensim.models import Word2Vec

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
    from gensim.models import KeyedVectors

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
        _read(source, format_)


ROWS = "the 0.5 1 2\n. . . 1 2 3\nat 5 2 3 4\nnb\u00a0sp 3 4 5\n"


@pytest.mark.parametrize("head", ["", "4 3\n", "\ufeff4 3\n"])
def test_words_with_spaces_are_words(tmp_path: Path, head: str) -> None:
    (tmp_path / "v.txt").write_bytes((head + ROWS).encode())
    found = opened(tmp_path / "v.txt")
    assert list(found) == ["the", ". . .", "at 5", "nb\u00a0sp"]
    np.testing.assert_array_equal(found.matrix, [[0.5, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]])


def test_the_shared_cases_of_spaces_and_repeated_words(tmp_path: Path, shared: Path) -> None:
    for name, words in (("glove840", ["the", ". . .", "at name@domain.com", "chop"]), ("dupword", ["the", "chop"])):
        found = open_word_vectors(shared / "cases" / "words" / f"{name}.txt", cache_folder=tmp_path)
        assert list(found) == words
    assert found.vector("the")[0] == np.float32(0.12573), "the first row of a repeated word counts"


def binary(*rows: tuple[bytes, float]) -> bytes:
    head = f"{len(rows)} 3\n".encode()
    return head + b"".join(word + b" " + np.full(3, value, "<f4").tobytes() + b"\n" for word, value in rows)


@pytest.mark.parametrize(
    ("content", "words", "left_out"),
    [
        (b"3 1\nthe 1\nthe 2\nchop 3\n", ["the", "chop"], "1 repeated"),
        (binary((b"the", 1), (b"the", 2), (b"chop", 3)), ["the", "chop"], "1 repeated"),
        (b"the 1 1\ncaf\xe9 2 2\nchop 3 3\n", ["the", "chop"], "1 not UTF-8"),
        (binary((b"the", 1), (b"caf\xe9", 2), (b"chop", 3)), ["the", "chop"], "1 not UTF-8"),
        (b"the 1 1\n 2 2\nchop nan 3\nchop 4 4\n", ["the", "chop"], "1 empty, 1 with NaN or infinity in the vector"),
        (b"1 2\nthe 1 1\nchop 2 2\n", ["the"], "1 beyond the count in the first line"),
    ],
)
def test_rows_that_cannot_be_used_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, words: list[str], left_out: str
) -> None:
    (tmp_path / "v").write_bytes(content)
    found = opened(tmp_path / "v")
    assert list(found) == words
    assert found.matrix[0, 0] == 1
    assert f"rows left out: {left_out}" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xba\x16\x4f\x2f\x0c\x00\x00\x00", r"is a fastText model, .* Use the \.vec file"),
        (b"PK\x03\x04 a zip", "it is a zip archive; unpack it"),
        (b"caf\xe9 1 1\nh\xe9 2 2\nthe 3 3\n", "2 of its 3 words are not UTF-8"),
        (b"the 1 2\nchop 1 2\nonion 1\n", "line 3 is not a word and 2 numbers"),
        (b"3 2\nthe 1 2\nchop 1 2\n", "states 3 words, and it has 2"),
        (b" 1.5 2\n 3 4\n", r"holds no word vectors \(2 empty\)"),
        (b"<" + b"x" * 3_000_000, "not a known format"),
        (b"", "it is empty"),
        (gzip.compress(b"the 1 2\n", mtime=0), r"compressed with gzip; unpack it, or name it \.gz"),
        # Read by the first line, the words would end in numbers, or numbers would be words and bytes vectors.
        (b"3 2\nthe 1 2 3\nchop 1 2 3\nat 5 1 2 3\n", "states 2 dimensions, and its rows have 3"),
        (b"3 9\nthe 1 2 3\nchop 1 2 3\nat 5 1 2 3\n" * 9, "states 9 dimensions, and its rows have 3"),
    ],
)
def test_the_reason_is_said_and_short(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "v").write_bytes(content)
    for file_format in (WordFormat.AUTO, WordFormat.BINARY) if content.startswith(b"\xba") else (WordFormat.AUTO,):
        with pytest.raises(WordVectorsError, match=said) as raised:
            open_word_vectors(tmp_path / "v", cache_folder=tmp_path / "cache", file_format=file_format)
        assert len(str(raised.value)) < 600


@pytest.mark.parametrize("whole", [True, False])
def test_gensim_s_fasttext_gives_the_vectors_of_its_words(tmp_path: Path, *, whole: bool) -> None:
    from gensim.models import FastText

    model = FastText([["cut", "the", "onion"], ["don't", "cry"]], vector_size=8, min_count=1, bucket=50)
    (model if whole else model.wv).save(str(tmp_path / "f"))
    found = opened(tmp_path / "f")
    assert sorted(found) == ["cry", "cut", "don't", "onion", "the"]
    for word in found:
        np.testing.assert_array_equal(found.vector(word), model.wv[word])
