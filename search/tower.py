"""Embeds windows of videos and sentences with the two towers of a checkpoint."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from reeldex.devices import resolve_device
from reeldex.embedding.model import TextVideoEmbedding
from reeldex.embedding.training.checkpoint import Checkpoint
from reeldex.embedding.words.vectors import WordVectors, tokenise
from reeldex.search.moment_table import Floats

_SENTENCES_AT_ONCE = 64
_ROWS_TOGETHER = 16


class VideoTower:
    """Embeds pooled features, always in batches of the same size.

    Embeddings are batch-invariant: a batch that is not full is padded with zeros, so the device always computes the
    same shapes. The batch size is rounded up to a multiple of 16, because matrix products process rows in groups and
    treat the remaining rows differently.
    """

    def __init__(self, model: TextVideoEmbedding, batch_size: int, device: str) -> None:
        self._device = resolve_device(device)
        self._model = model.to(self._device)
        rows = -(-batch_size // _ROWS_TOGETHER) * _ROWS_TOGETHER
        self._batch = np.zeros((rows, model.spec.video_dim), dtype=np.float32)
        self._filled = 0

    def push(self, pooled: Floats) -> list[npt.NDArray[np.float16]]:
        """Add (n, video_dim) vectors; return the embeddings of full batches, (m, D) float16, in order."""
        ready = []
        while len(pooled):
            taken = pooled[: len(self._batch) - self._filled]
            self._batch[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            pooled = pooled[len(taken) :]
            if self._filled == len(self._batch):
                ready.append(self.flush())
        return ready

    def flush(self) -> npt.NDArray[np.float16]:
        """Embed what was added since the last full batch: (m, D) float16."""
        count, self._filled = self._filled, 0
        self._batch[count:] = 0
        with torch.inference_mode():
            embedded = self._model.embed_videos(torch.from_numpy(self._batch).to(self._device))
        halves: npt.NDArray[np.float16] = embedded[:count].cpu().numpy().astype(np.float16)
        return halves


class SentenceTower:
    """Embeds sentences; `load` is called for the checkpoint at the first one. Thread-safe."""

    def __init__(self, load: Callable[[], Checkpoint], words: WordVectors) -> None:
        self.words = words
        self._load = load
        self._model: TextVideoEmbedding | None = None
        self._loading = threading.Lock()

    def knows(self, sentence: str) -> bool:
        """Return whether any word of a sentence has a vector."""
        return any(word in self.words for word in tokenise(sentence))

    def unknown(self, sentence: str) -> tuple[str, ...]:
        """Return the words of a sentence that have no vector, each once."""
        return tuple(dict.fromkeys(word for word in tokenise(sentence) if word not in self.words))

    def frequent_words(self, count: int) -> list[str]:
        """Return the first (most frequent) words of the vocabulary that a sentence can contain."""
        chosen = []
        for word in self.words:
            if tokenise(word) == [word]:
                chosen.append(word)
            if len(chosen) == count:
                break
        return chosen

    def embed(self, sentences: Sequence[str]) -> Floats:
        """Embed sentences to (n, D) float32, each of norm 1."""
        return embed_sentences(self._loaded(), self.words, sentences)

    def _loaded(self) -> TextVideoEmbedding:
        with self._loading:
            if self._model is None:
                model = self._load().model()
                # The other tower is not needed here, and takes half of the memory.
                del model.GU_video
                self._model = model
            return self._model


def embed_sentences(model: TextVideoEmbedding, words: WordVectors, sentences: Sequence[str]) -> Floats:
    """Embed one or more sentences to (n, D) float32, each of norm 1, on the model's device."""
    device = next(model.parameters()).device
    parts = []
    for first in range(0, len(sentences), _SENTENCES_AT_ONCE):
        block = sentences[first : first + _SENTENCES_AT_ONCE]
        vectors = words.sentence_vectors(block, model.spec.max_words)
        with torch.inference_mode():
            parts.append(model.embed_sentences(torch.from_numpy(vectors).to(device)).cpu().numpy())
    return np.concatenate(parts)
