"""Detects the format of a word-vector file, and whether a pickled one is safe to open."""

from __future__ import annotations

import bz2
import gzip
import pickle
import zlib
from pathlib import Path
from typing import IO, ClassVar, Self, cast

from reeldex.embedding.errors import WordVectorsError
from reeldex.embedding.options import WordFormat
from reeldex.embedding.pickled_arrays import STAND_INS
from reeldex.embedding.words.lines import is_row, row_dim, without_mark
from reeldex.storage.system_errors import refused_by_system
from reeldex.untrusted_files import RestrictedUnpickler, first_line

_LONGEST_LINE_BYTES = 1 << 20
_DETECTED_LINES = 100
_PICKLE_START = b"\x80"
_FASTTEXT_START = (793712314).to_bytes(4, "little")
_OTHER_FILES = {
    b"PK\x03\x04": "it is a zip archive; unpack it",
    b"\x1f\x8b": "it is compressed with gzip; unpack it, or name it .gz",
    b"BZh": "it is compressed with bzip2; unpack it, or name it .bz2",
    b"\xff\xfe": "it is UTF-16; save it as UTF-8",
}

_GENSIM_CLASSES = {
    ("gensim.models.keyedvectors", "KeyedVectors"): "KeyedVectors",
    # gensim 3's class name, and its record of each word.
    ("gensim.models.keyedvectors", "Word2VecKeyedVectors"): "KeyedVectors",
    ("gensim.models.keyedvectors", "Vocab"): "Vocab",
    # A complete Word2Vec model, which gensim can save too.
    ("gensim.models.word2vec", "Word2Vec"): "Word2Vec",
    ("gensim.models.word2vec", "Word2VecVocab"): "Word2VecVocab",
    ("gensim.models.word2vec", "Word2VecTrainables"): "Word2VecTrainables",
    # gensim's FastText, complete or its vectors alone, and the names of gensim 3.
    ("gensim.models.fasttext", "FastText"): "FastText",
    ("gensim.models.fasttext", "FastTextKeyedVectors"): "FastTextKeyedVectors",
    ("gensim.models.keyedvectors", "FastTextKeyedVectors"): "FastTextKeyedVectors",
    ("gensim.models.fasttext", "FastTextVocab"): "FastTextVocab",
    ("gensim.models.fasttext", "FastTextTrainables"): "FastTextTrainables",
}
GENSIM_KINDS = ("KeyedVectors", "Word2Vec", "FastTextKeyedVectors", "FastText")
"""The classes of gensim whose files are read."""
_ADMITTED = {
    ("gensim.utils", "call_on_class_only"),
    ("numpy.random._pickle", "__randomstate_ctor"),
    ("numpy.random._pickle", "__bit_generator_ctor"),
    ("numpy.random._mt19937", "MT19937"),
    ("collections", "defaultdict"),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("int", "hash")),
}


def require_word_file(source: Path) -> list[Path]:
    """Return all files of word vectors: `source` and the arrays that gensim stored beside it.

    Raises WordVectorsError when there is no such file.
    """
    if not source.is_file():
        raise WordVectorsError(
            f"There are no word vectors at {source}. The published ones are GoogleNews-vectors-negative300.bin; "
            "correct the path, or train vectors on your own captions."
        )
    beside = (path for path in source.parent.iterdir() if path.name.startswith(source.name + "."))
    return [source, *sorted(path for path in beside if path.suffix == ".npy")]


def detect_format(source: Path) -> WordFormat:
    """Return the format of a file, by its first lines; raises WordVectorsError when it is unknown."""
    first, *others = without_mark(_first_lines(source))
    if first.startswith(_PICKLE_START):
        return WordFormat.GENSIM
    counts = first.split()
    if len(counts) == 2 and all(count.isdigit() for count in counts):
        if not is_row(others[0], int(counts[1])) and (dim := row_dim(others)) is not None:
            raise WordVectorsError(
                f"{source} is not an intact file of word vectors: its first line states {int(counts[1])} dimensions, "
                f"and its rows have {dim}. Download it again, or correct the first line."
            )
        return WordFormat.TEXT if is_row(others[0], int(counts[1])) else WordFormat.BINARY
    if row_dim([first, *others]) is not None and is_row(first, 2):
        return WordFormat.TEXT_WITHOUT_COUNTS
    known = (what for begin, what in _OTHER_FILES.items() if first.startswith(begin))
    found = next(known, f"it begins with {first[:40]!r}") if first else "it is empty"
    raise WordVectorsError(
        f"{source} is not a known format of word vectors: {found}. Known are the binary "
        "and the text word2vec format and files saved by gensim."
    )


def require_no_fasttext_model(source: Path) -> None:
    """Raise WordVectorsError for a model that fastText's own programs saved (.bin, .ftz)."""
    if _first_lines(source)[0].startswith(_FASTTEXT_START):
        raise WordVectorsError(
            f"{source} is a fastText model, which stores parts of words. Use the .vec file that is published "
            "beside it: it has the vectors of the words as text."
        )


def _first_lines(source: Path) -> list[bytes]:
    """Return the first lines of a file, at least one; raises WordVectorsError when it cannot be read."""
    try:
        with open_source(source) as file:
            return [file.readline(_LONGEST_LINE_BYTES) for _ in range(_DETECTED_LINES)]
    except (OSError, EOFError, zlib.error) as error:
        raise WordVectorsError(f"{source} cannot be read: {refused_by_system(error) or f'{error}.'}") from error


def open_source(source: Path) -> IO[bytes]:
    """Open a file of word vectors, decompressed if its name ends in .gz or .bz2."""
    if source.suffix == ".gz":
        return cast(IO[bytes], gzip.open(source, "rb"))
    if source.suffix == ".bz2":
        return cast(IO[bytes], bz2.open(source, "rb"))
    return source.open("rb")


class _Held:
    """Replaces gensim's classes while unpickling: keeps their state, runs none of their code."""

    made: ClassVar[list[_Held]]

    def __new__(cls, *arguments: object) -> Self:
        if arguments:
            raise ValueError(f"a {cls.__name__} is made from arguments, which gensim never saves")
        one = super().__new__(cls)
        cls.made.append(one)
        return one


def require_safe_pickle(source: Path) -> str:
    """Return which class of gensim a pickle holds, after checking that it contains only word vectors.

    Reads it once and executes only what builds arrays. Raises WordVectorsError naming what it refuses.
    """
    made: list[_Held] = []

    def refuse(named: str) -> WordVectorsError:
        return WordVectorsError(
            f"{source} asks for {named}, which word vectors saved by gensim do not need; it was not run, and the file "
            "is refused. Get vectors in the binary or text word2vec format instead."
        )

    inert = {asked: type(name, (_Held,), {"made": made}) for asked, name in _GENSIM_CLASSES.items()}
    try:
        with open_source(source) as file:
            loaded = RestrictedUnpickler(file, _ADMITTED, {**STAND_INS, **inert}, refuse).load()
    except (pickle.UnpicklingError, OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        if (refused := refused_by_system(error)) is not None:
            raise WordVectorsError(f"{source} cannot be read: {refused}") from error
        raise WordVectorsError(f"{source} is not an intact pickle: {first_line(error)}. Download it again.") from error
    except MemoryError as error:
        raise WordVectorsError(
            f"{source} is not an intact pickle: it requests too much memory. Download it again."
        ) from error
    except (AttributeError, ImportError) as error:
        raise WordVectorsError(
            f"{source} was saved by a gensim that this one cannot read: {first_line(error)}."
        ) from error
    kind = type(loaded).__name__
    if not isinstance(loaded, _Held) or kind not in GENSIM_KINDS:
        raise WordVectorsError(f"{source} contains a {kind}, not word vectors.")
    # gensim would open the pickles that these name, files beside this one, and execute them.
    if any(vars(each).get("__scipys") for each in made):
        raise WordVectorsError(
            f"{source} refers to pickles beside it, which word vectors do not need; they were not opened, and the "
            "file is refused. Get vectors in the binary or text word2vec format instead."
        )
    return kind
