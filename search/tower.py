"""Embeds windows of videos, and sentences, with the two towers of a checkpoint in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from reeldex.devices import resolve_device
from reeldex.embedding.model import TextVideoEmbedding
from reeldex.embedding.words.vectors import WordVectors
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
