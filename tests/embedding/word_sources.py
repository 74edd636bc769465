"""A few word vectors, in all the formats that they come in."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.embedding.words.vectors import WordVectors
from reeldex.embedding.words.word2vec import open_word_vectors

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

WORDS = ["cut", "Cut", "don't", "häuten", "刀", "in", "New_York"]


def opened(source: Path) -> WordVectors:
    """Open a file with a cache beside it."""
    return open_word_vectors(source, cache_folder=source.parent / "cache")


def save(keyed: KeyedVectors, path: Path, kind: str) -> None:
    """Write vectors in a format, which `kind` says in words."""
    if kind == "gensim":
        keyed.save(str(path))
    elif kind == "gensim with arrays beside":
        keyed.save(str(path), sep_limit=1)
        assert path.with_name(path.name + ".vectors.npy").is_file()
    elif kind == "whole model":
        from gensim.models import Word2Vec

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
        if "spaces" in kind:
            content = content.replace(b"\n", b" \n")
        elif "tabs" in kind:
            content = content.replace(b" ", b"\t")
        if "gz" in kind:
            content = gzip.compress(content)
        elif "bz2" in kind:
            content = bz2.compress(content)
        path.write_bytes(content)
