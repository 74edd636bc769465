"""The sentence tower of a text-video embedding in NumPy, mapped from a file: a query then needs no PyTorch.

PyTorch takes longer to import than a whole search. What `model.TextVideoEmbedding.embed_sentences` computes is the
slow twin. The time of one sentence is that of reading the weights from memory: 311 MB at the published size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reeldex.embedding.errors import EmbeddingError
from reeldex.embedding.mapped_arrays import MappedArraysError, open_arrays, write_arrays

if TYPE_CHECKING:
    from reeldex.embedding.words.vectors import WordVectors

Floats = npt.NDArray[np.float32]

_MAGIC = b"reeldex-tower 1\n"
_SENTENCES_AT_ONCE = 64
_SMALLEST_NORM = np.float32(1e-12)  # as torch.nn.functional.normalize


class TextTowerError(EmbeddingError):
    """A file of a text tower is absent, damaged, or not of the expected shapes."""


@dataclass(frozen=True, eq=False)
class TextTower:
    """Word vectors of a sentence to its embedding: linear, ReLU, maximum over the words, gated embedding unit.

    `word`, `joint` and `gate` are pairs of a weight (out, in) and a bias (out,), all float32; `max_words` words of a
    sentence are used, and zeros fill up what is missing. Raises TextTowerError for shapes that do not fit.
    """

    word: tuple[Floats, Floats]
    joint: tuple[Floats, Floats]
    gate: tuple[Floats, Floats]
    max_words: int

    def __post_init__(self) -> None:
        width = self.word[0].shape[-1]
        for name, (weight, bias) in (("word", self.word), ("joint", self.joint), ("gate", self.gate)):
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != (len(weight),):
                raise TextTowerError(f"the shapes {weight.shape} and {bias.shape} of `{name}` do not fit")
            width = len(weight)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Any], max_words: int) -> TextTower:
        """Return the tower of the weights of a checkpoint: tensors by their published names."""
        layers = [
            (_float32(weights[f"{name}.weight"]), _float32(weights[f"{name}.bias"]))
            for name in ("text_pooling.fc", "GU_text.fc", "GU_text.cg.fc")
        ]
        return cls(layers[0], layers[1], layers[2], max_words)

    def save(self, path: Path) -> None:
        """Write a file that `open` maps; the caller publishes it."""
        arrays = {
            f"{name}_{part}": array
            for name, layer in (("word", self.word), ("joint", self.joint), ("gate", self.gate))
            for part, array in zip(("weight", "bias"), layer, strict=True)
        }
        write_arrays(path, _MAGIC, {"max_words": self.max_words}, arrays)

    @classmethod
    def open(cls, path: Path) -> TextTower:
        """Map a file that `save` wrote; raises TextTowerError when it is absent or damaged."""
        try:
            opened = open_arrays(path, _MAGIC)
            layers = [
                (opened.arrays[f"{name}_weight"], opened.arrays[f"{name}_bias"]) for name in ("word", "joint", "gate")
            ]
            return cls(layers[0], layers[1], layers[2], int(opened.facts["max_words"]))
        except (MappedArraysError, KeyError) as error:
            raise TextTowerError(f"{path} does not hold a text tower: {error}") from error

    def embed(self, words: WordVectors, sentences: Sequence[str]) -> Floats:
        """Embed one or more sentences to (n, D) float32, each of norm 1."""
        parts = []
        for first in range(0, len(sentences), _SENTENCES_AT_ONCE):
            block = sentences[first : first + _SENTENCES_AT_ONCE]
            pooled = np.stack([self._pooled(words.known_vectors(each, self.max_words)) for each in block])
            parts.append(self._embedded(pooled))
        return np.concatenate(parts)

    def _pooled(self, vectors: Floats) -> Floats:
        """Pool the vectors of the known words of a sentence, (w, word_dim), to (sentence_dim,)."""
        weight, bias = self.word
        pooled = np.zeros(len(bias), np.float32)
        if len(vectors):
            pooled = np.maximum(pooled, (vectors @ weight.T).max(axis=0) + bias)
        # A word that is missing is a zero vector, of which the bias is left.
        return np.maximum(pooled, bias) if len(vectors) < self.max_words else pooled

    def _embedded(self, pooled: Floats) -> Floats:
        joined = _linear(pooled, self.joint)
        gate = np.float32(0.5) * np.tanh(np.float32(0.5) * _linear(joined, self.gate)) + np.float32(0.5)
        joined *= gate
        joined /= np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), _SMALLEST_NORM)
        return joined


def _linear(values: Floats, layer: tuple[Floats, Floats]) -> Floats:
    weight, bias = layer
    # One row as a vector: the product of a matrix and a vector reads the weights without packing them first.
    product: Floats = (weight @ values[0])[np.newaxis] if len(values) == 1 else values @ weight.T
    return product + bias


def _float32(tensor: Any) -> Floats:  # noqa: ANN401 - a tensor, without an import of PyTorch
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())
