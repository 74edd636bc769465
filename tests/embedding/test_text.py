import bz2
import gzip
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors, Word2Vec

from embedding import text, word_cache
from embedding.errors import WordVectorsError
from embedding.text import WordTraining, WordVectors, open_word_vectors, tokenise, train_word_vectors
from embedding.word_files import WordFormat, detect_format
from tests.embedding.test_unpickling import ADDRESS, Elements, Hostile

WORDS = ["cut", "Cut", "don't", "häuten", "刀", "in", "New_York"]


@pytest.fixture
def vectors() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(len(WORDS), 8)).astype(np.float32)


@pytest.fixture
def keyed(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> KeyedVectors:
    keyed = KeyedVectors(8)
    keyed.add_vectors(WORDS, vectors)
    return keyed


@pytest.fixture
def source(tmp_path: Path, keyed: KeyedVectors) -> Path:
    keyed.save_word2vec_format(str(tmp_path / "words.bin"), binary=True)
    return tmp_path / "words.bin"


def opened(source: Path) -> WordVectors:
    return open_word_vectors(source, cache_folder=source.parent / "cache")


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Cut the ONION, then don't cry.", ["Cut", "the", "ONION", "then", "don't", "cry"]),
        ("well-done_twice 3x", ["well", "done_twice", "3x"]),
        ("häuten 刀!", ["häuten", "刀"]),
        ("...", []),
        ("", []),
        (float("nan"), ["nan"]),
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


def save(keyed: KeyedVectors, path: Path, kind: str) -> None:
    if kind == "gensim":
        keyed.save(str(path))
    elif kind == "gensim with arrays beside":
        keyed.save(str(path), sep_limit=1)
        assert path.with_name(path.name + ".vectors.npy").is_file()
    elif kind == "whole model":
        model = Word2Vec(vector_size=8, min_count=1)
        model.build_vocab([WORDS])
        for word in WORDS:
            model.wv.vectors[model.wv.key_to_index[word]] = keyed[word]
        model.save(str(path))
    else:
        plain = path.with_name("plain")
        keyed.save_word2vec_format(str(plain), binary="binary" in kind)
        content = plain.read_bytes()
        if "without" in kind:
            content = content.split(b"\n", 1)[1]
        if "gz" in kind:
            content = gzip.compress(content)
        elif "bz2" in kind:
            content = bz2.compress(content)
        path.write_bytes(content)


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
def test_all_formats_are_told_apart_and_read(tmp_path: Path, keyed: KeyedVectors, kind: str, name: str) -> None:
    save(keyed, tmp_path / name, kind)
    found = opened(tmp_path / name)
    assert sorted(found) == sorted(WORDS)
    for word in WORDS:
        np.testing.assert_allclose(found.vector(word), keyed[word], rtol=1e-6 if "text" in kind else 0)


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
    with pytest.raises(ValueError, match="At least 1 word"):
        found.sentence_vectors(["cut"], max_words=0)


def test_unknown_words_are_counted(source: Path) -> None:
    assert opened(source).unknown_words(["cut the onion", "peel the 刀"]) == {"the": 2, "onion": 1, "peel": 1}


def test_memory_of_words_is_bounded_and_changes_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedding.word_vectors._REMEMBERED_WORDS", 3)
    found = opened(source)
    for _ in range(3):
        assert [word in found for word in (*WORDS, "onion")] == [True] * len(WORDS) + [False]
    assert len(found._remembered) <= 3


def test_a_second_start_reads_neither_the_source_nor_gensim(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(source)

    def fail(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(text, "_read_with_gensim", fail)
    monkeypatch.setattr(text, "_content_sha256", fail)
    assert len(opened(source)) == len(WORDS)


def test_a_touched_source_is_hashed_and_not_converted_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(source)
    os.utime(source, ns=(1, 1))
    monkeypatch.setattr(text, "_read_with_gensim", lambda *_: pytest.fail("converted again"))
    assert len(opened(source)) == len(WORDS)
    monkeypatch.setattr(text, "_content_sha256", lambda _: pytest.fail("hashed again"))
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
    with pytest.raises(WordVectorsError, match="no intact cache of word vectors"):
        WordVectors(cache)
    assert list(opened(source)) == WORDS


def test_a_conversion_that_is_killed_leaves_no_cache(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(word_cache, "_write", die)
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
    with pytest.raises(WordVectorsError, match=r"bad\.kv is no intact pickle: a Word2Vec is made from arguments"):
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
    with pytest.raises(WordVectorsError, match=r"bad\.kv is no intact pickle"):
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
    with pytest.raises(WordVectorsError, match=r"v\.kv holds vectors of other things than words"):
        opened(tmp_path / "v.kv")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vectors": np.ones((2, 8), dtype=np.float32)}, r"holds 7 words and vectors of the shape \(2, 8\)"),
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
        (b"", "no file of word vectors that can be read"),
        (b"PK\x03\x04 a zip", "no file of word vectors that can be read"),
        (b"3 8\ncut 1 2", "no intact file of word vectors"),
        (b"0 8\n", "no"),
        (b"\x80\x04garbage", "no intact pickle"),
        (b"99999999999999 300\ncut \x00", "no intact file of word vectors"),
        (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "no intact pickle"),
        (pickle.dumps({"a": 1}), "holds a dict, no word vectors"),
    ],
)
def test_what_is_no_file_of_word_vectors_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(WordVectorsError, match=said):
        opened(tmp_path / "v")


def test_a_binary_file_that_breaks_off_is_said(source: Path) -> None:
    source.write_bytes(source.read_bytes()[:-40])
    with pytest.raises(WordVectorsError, match="read as binary word2vec format, is no intact file"):
        opened(source)


def test_an_absent_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(WordVectorsError, match=r"There are no word vectors at .*GoogleNews"):
        opened(tmp_path / "absent.bin")


def test_a_named_format_is_believed(source: Path) -> None:
    assert detect_format(source) is WordFormat.BINARY
    with pytest.raises(WordVectorsError, match="read as text format"):
        open_word_vectors(source, cache_folder=source.parent / "cache", file_format=WordFormat.TEXT)


def test_a_folder_that_cannot_be_written_is_said(source: Path) -> None:
    (source.parent / "file").write_text("x")
    with pytest.raises(WordVectorsError, match=r"cannot be written to .*Give another folder"):
        open_word_vectors(source, cache_folder=source.parent / "file")


def test_the_cache_s_default_place_follows_the_user_s_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert text.default_cache_folder() == tmp_path / "reeldex/word-vectors"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert text.default_cache_folder() == Path.home() / ".cache/reeldex/word-vectors"


CAPTIONS = ["cut the red onion", "peel the green onion", "don't cut the Red one"] * 30


def test_trained_vectors_are_the_same_in_every_process(tmp_path: Path) -> None:
    how = WordTraining(dim=12, epochs=3)
    train_word_vectors((caption for caption in CAPTIONS), tmp_path / "a.bin", how)
    script = (
        "from pathlib import Path\n"
        "from embedding.text import WordTraining, train_word_vectors\n"
        "from tests.embedding.test_text import CAPTIONS\n"
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
    with pytest.raises(ValueError, match="epochs of word vectors"):
        WordTraining(epochs=0)


def test_conversion_is_told(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="embedding.text"):
        opened(source)
        opened(source)
    assert [record.levelname for record in caplog.records] == ["INFO"]
