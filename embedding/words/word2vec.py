"""Opens word-vector files, which gensim converts once to a memory-mapped cache, and trains word vectors."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reeldex import user_folders
from reeldex.embedding.errors import WordVectorsError
from reeldex.embedding.options import WordFormat, WordTraining
from reeldex.embedding.words.cache import cache_fingerprint, write_cache
from reeldex.embedding.words.files import (
    detect_format,
    require_no_fasttext_model,
    require_safe_pickle,
    require_word_file,
)
from reeldex.embedding.words.rows import REPEATED, WordRows, usable_rows
from reeldex.embedding.words.text import read_text
from reeldex.embedding.words.vectors import WordVectors, tokenise
from reeldex.quantities import counted
from reeldex.storage.atomic import publish, publish_text
from reeldex.storage.hashing import file_sha256
from reeldex.storage.system_errors import refused_by_system

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

log = logging.getLogger(__name__)

_LONGEST_REASON = 200
_BROKEN_FILE = (
    OSError, EOFError, ValueError, KeyError, AttributeError, IndexError, TypeError, MemoryError, zlib.error
)  # fmt: skip


def open_word_vectors(
    source: Path, *, cache_folder: Path | None = None, file_format: WordFormat = WordFormat.AUTO
) -> WordVectors:
    """Open a file of word vectors, converting it into a cache the first time and whenever its content changes.

    Supported are the binary word2vec format (GoogleNews), the text format (with or without a first line of counts),
    gensim's own KeyedVectors, Word2Vec and FastText files, and the first two compressed as .gz or .bz2. Rows that
    cannot be used (`usable_rows`) are left out and logged when a file is converted. A changed modification time with
    the same content does not convert again. `cache_folder` is `default_cache_folder()` when None. Raises
    WordVectorsError.
    """
    parts = require_word_file(source)
    folder = cache_folder or default_cache_folder()
    name = hashlib.sha256(os.fsencode(source.absolute())).hexdigest()[:16]
    cache = folder / f"{source.name[:100]}-{name}.words"
    signature = _signature(parts, file_format)
    known = _read_note(_note_of(cache))
    if known is None or known[0] != signature or known[1] != cache_fingerprint(cache):
        fingerprint = _content_sha256(parts)
        if known is None or known[0]["format"] != file_format or fingerprint != cache_fingerprint(cache):
            _convert(source, file_format, cache, fingerprint)
        note = {"source": signature, "fingerprint": fingerprint}
        _publish_text_or_say(_note_of(cache), json.dumps(note, indent=1))
    return WordVectors(cache)


def default_cache_folder() -> Path:
    """Return the folder for caches: `reeldex/word-vectors` in XDG_CACHE_HOME or in ~/.cache."""
    return user_folders.cache_folder("word-vectors")


def _convert(source: Path, file_format: WordFormat, cache: Path, fingerprint: str) -> None:
    log.info("Converting %s to %s (once)", source, cache)
    read = usable_rows(source, _read(source, file_format))
    if read.left_out:
        used = counted(len(read.words), "word")
        log.warning("%s: %s read; rows left out: %s", source, used, read.left_out_in_words())
    try:
        write_cache(cache, read.words, read.vectors, fingerprint)
    except OSError as error:
        raise _unwritable(cache, error) from error


def _read(source: Path, file_format: WordFormat) -> WordRows:
    """Read the rows of a file; raises WordVectorsError when it is damaged or not readable."""
    require_no_fasttext_model(source)
    found = detect_format(source) if file_format is WordFormat.AUTO else file_format
    try:
        if found in {WordFormat.TEXT, WordFormat.TEXT_WITHOUT_COUNTS}:
            return read_text(source, counts=found is WordFormat.TEXT)
        return _read_with_gensim(source, found)
    except _BROKEN_FILE as error:
        if (refused := refused_by_system(error)) is not None:
            raise WordVectorsError(f"{source} cannot be read: {refused}") from error
        reason = str(error)[:_LONGEST_REASON] or "it requests too much memory"
        raise WordVectorsError(
            f"{source}, read as {found} format, is not an intact file of word vectors: {reason}. Download it again, or "
            "name its format."
        ) from error


def _read_with_gensim(source: Path, file_format: WordFormat) -> WordRows:
    quiet = logging.getLogger("gensim.models.keyedvectors")
    level = quiet.level
    # gensim logs each repeated word; they are counted instead.
    quiet.setLevel(logging.ERROR)
    try:
        read = _load(source, file_format)
    finally:
        quiet.setLevel(level)
    words, vectors = getattr(read, "index_to_key", None), getattr(read, "vectors", None)
    if not isinstance(words, list) or not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f":
        raise WordVectorsError(f"{source} lacks the words or the vectors. Download it again.")
    # gensim leaves empty places at the end, one for each repeated word.
    places = len(words)
    while words and words[-1] is None:
        words.pop()
    if not all(isinstance(word, str) for word in words):
        raise WordVectorsError(f"{source} has vectors whose keys are not words. Use vectors of words.")
    if words and (vectors.ndim != 2 or len(vectors) not in {len(words), places} or not vectors.shape[1]):
        raise WordVectorsError(
            f"{source} has {len(words)} words and vectors of shape {vectors.shape}. Download it again."
        )
    return WordRows(words, vectors[: len(words)], {REPEATED: places - len(words)})


def _load(source: Path, file_format: WordFormat) -> KeyedVectors:
    models = _gensim_models()
    if file_format is WordFormat.BINARY:
        # Words that are not UTF-8 are left out later, rather than changed to other words.
        return models.KeyedVectors.load_word2vec_format(str(source), binary=True, unicode_errors="surrogateescape")
    # gensim would execute the pickle.
    kind = require_safe_pickle(source)
    if kind in {"Word2Vec", "FastText"}:
        return getattr(models, kind).load(str(source)).wv
    return (models.fasttext.FastTextKeyedVectors if kind == "FastTextKeyedVectors" else models.KeyedVectors).load(
        str(source)
    )


def _gensim_models() -> Any:  # noqa: ANN401 - gensim publishes no types
    try:
        from gensim import models
    except ImportError as error:
        raise WordVectorsError(
            f"gensim, which reads and trains word vectors, is not available here ({error}). It is published for "
            "Python 3.11 to 3.13: use one of these. Files that were opened there before need it no longer, as long as "
            "they and the cache are unchanged."
        ) from error
    return models


def _publish_text_or_say(path: Path, text: str) -> None:
    try:
        publish_text(path, text)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> WordVectorsError:
    return WordVectorsError(
        f"The cache of word vectors cannot be written to {path}: {error}. Select another folder with "
        "words.cache_folder or XDG_CACHE_HOME, with about as much free space as the size of the vectors."
    )


def _signature(parts: Sequence[Path], file_format: WordFormat) -> dict[str, object]:
    """Return a cheap signature of a source, which changes when a file is written."""
    files = [[part.name, part.stat().st_size, part.stat().st_mtime_ns] for part in parts]
    return {"files": files, "format": str(file_format)}


def _content_sha256(parts: Sequence[Path]) -> str:
    """Return the hash of a file; for several, the hash of their names and hashes."""
    if len(parts) == 1:
        return file_sha256(parts[0])
    return hashlib.sha256("".join(f"{part.name} {file_sha256(part)}\n" for part in parts).encode()).hexdigest()


def _note_of(cache: Path) -> Path:
    return cache.with_name(cache.name + ".source.json")


def _read_note(path: Path) -> tuple[dict[str, object], str] | None:
    """Return the source's signature when it last matched the cache, None if unknown."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return {"files": note["source"]["files"], "format": note["source"]["format"]}, str(note["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _Sentences:
    """Captions as words; can be iterated repeatedly, as gensim reads them for the vocabulary and once per epoch."""

    def __init__(self, captions: Iterable[object]) -> None:
        # An iterator can be read only once, so its content is kept.
        self._captions = list(captions) if iter(captions) is captions else captions

    def __iter__(self) -> Iterator[list[str]]:
        return (words for caption in self._captions if (words := tokenise(caption)))


def train_word_vectors(captions: Iterable[object], path: Path, training: WordTraining | None = None) -> None:
    """Train word vectors on captions with gensim's Word2Vec and publish them at `path` in binary word2vec format.

    The same captions in the same order and the same settings give the same bytes. Raises WordVectorsError when
    no word is frequent enough.
    """
    models = _gensim_models()
    how = training or WordTraining()
    sentences = _Sentences(captions)
    if not any(count >= how.min_count for count in Counter(word for words in sentences for word in words).values()):
        raise WordVectorsError(
            f"No word occurs {how.min_count} times in the captions, so no vectors can be trained. Use more "
            "captions, or lower min_count."
        )
    # One thread: several would update the weights in random order, so trainings would differ.
    model = models.Word2Vec(
        sentences=sentences,
        vector_size=how.dim,
        window=how.window,
        min_count=how.min_count,
        epochs=how.epochs,
        seed=how.seed,
        workers=1,
    )
    with publish(path) as temporary:
        model.wv.save_word2vec_format(str(temporary), binary=True)
