"""Collates samples into batches of tensors, in a reproducible order.

The order of an epoch depends on seed and epoch alone, and a sample on seed, epoch and index. Training can therefore
resume at any step, and neither the number of data workers nor that of processes changes the samples.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from reeldex.embedding.datasets.records import RetrievalSample, TrainingSet
from reeldex.embedding.errors import EmbeddingError, TrainingError
from reeldex.embedding.training.distributed import ProcessRank
from reeldex.embedding.training.startable import require_full_batch
from reeldex.embedding.words.vectors import WordVectors

Key = tuple[int, int]  # (epoch, index of the sample)


@dataclass(frozen=True, eq=False)
class Batch:
    """N pairs: `videos` (N, video_dim), `sentences` (N, max_words, word_dim), `class_ids` (N,) int64, `clip_ids`.

    The pairs of one sample are adjacent.
    """

    videos: Tensor
    sentences: Tensor
    class_ids: Tensor
    clip_ids: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return replace(
            self,
            videos=self.videos.to(device, non_blocking=True),
            sentences=self.sentences.to(device, non_blocking=True),
            class_ids=self.class_ids.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which a GPU copies asynchronously."""
        return replace(
            self,
            videos=self.videos.pin_memory(),
            sentences=self.sentences.pin_memory(),
            class_ids=self.class_ids.pin_memory(),
        )


def epoch_order(sample_count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the order of all samples in an epoch: a permutation that depends on these three numbers alone."""
    return np.random.default_rng([seed, epoch]).permutation(sample_count)


def _end_with_parent(_: int) -> None:
    """End this data worker soon after its parent process, which may have been killed.

    PyTorch looks for it every 5 seconds at most.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Samples(Dataset[RetrievalSample | EmbeddingError]):
    """Samples by their keys. An error is returned as a value: raised in a worker, it would become its stack trace."""

    def __init__(self, samples: TrainingSet, seed: int) -> None:
        self._samples = samples
        self._seed = seed

    def __getitem__(self, key: Key) -> RetrievalSample | EmbeddingError:
        epoch, index = key
        try:
            return self._samples.sample(self._seed, epoch, index)
        except EmbeddingError as error:
            return error


@dataclass(frozen=True)
class _Collate:
    words: WordVectors
    max_words: int

    def __call__(self, found: Sequence[RetrievalSample | EmbeddingError]) -> Batch | EmbeddingError:
        samples = [each for each in found if isinstance(each, RetrievalSample)]
        for each in found:
            if isinstance(each, EmbeddingError):
                return each
        captions = [caption for sample in samples for caption in sample.captions]
        return Batch(
            videos=torch.from_numpy(np.concatenate([sample.video for sample in samples])),
            sentences=torch.from_numpy(self.words.sentence_vectors(captions, self.max_words)),
            class_ids=torch.tensor([class_id for sample in samples for class_id in sample.class_ids]),
            clip_ids=tuple(clip_id for sample in samples for clip_id in sample.clip_ids),
        )


class _Plan(Sampler[list[Key]]):
    """The remaining batches of one epoch."""

    def __init__(self) -> None:
        self.batches: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How samples are batched: `batch_size` counts the samples of all processes together.

    `workers` processes read ahead; 0 reads in the training process. Raises ValueError for invalid values.
    """

    batch_size: int
    seed: int
    max_words: int
    workers: int = 0
    pin_memory: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < 0:
            raise ValueError(f"A batch has at least 1 sample, and workers are 0 or more; got {self}.")


class TrainingBatches:
    """All batches of a training, this process's part of each.

    An incomplete last batch is dropped, as published. Raises TrainingError when there is not one full batch, or
    when a batch cannot be divided among the processes.
    """

    def __init__(self, samples: TrainingSet, words: WordVectors, options: BatchOptions, process: ProcessRank) -> None:
        self._sample_count = len(samples)
        self._options = options
        self._process = process
        self.steps_per_epoch = self._sample_count // options.batch_size
        require_full_batch(samples.name, self._sample_count, options.batch_size)
        if options.batch_size % process.world_size:
            raise TrainingError(
                f"A batch of {options.batch_size} samples cannot be divided among {process.world_size} processes. "
                "Choose a multiple."
            )
        self._plan = _Plan()
        self._loader: DataLoader[RetrievalSample | EmbeddingError] = DataLoader(
            _Samples(samples, options.seed),
            batch_sampler=self._plan,
            num_workers=options.workers,
            persistent_workers=options.workers > 0,
            collate_fn=_Collate(words, options.max_words),
            pin_memory=options.pin_memory,
            worker_init_fn=_end_with_parent,
            # A generator of its own: the loader draws from it, and the global one stays as it is.
            generator=torch.Generator(),
        )

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Return this process's part of each batch of an epoch, from a step on; raises what its samples do."""
        order = epoch_order(self._sample_count, self._options.seed, epoch)
        size = self._options.batch_size
        share = size // self._process.world_size
        self._plan.batches = []
        for step in range(first_step, self.steps_per_epoch):
            first = step * size + self._process.rank * share
            self._plan.batches.append([(epoch, int(index)) for index in order[first : first + share]])
        for batch in self._loader:
            if isinstance(batch, EmbeddingError):
                raise batch
            yield batch
