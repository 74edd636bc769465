"""One update of the model: both towers on a batch, the loss over all processes, and the optimizer's step."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from reeldex.embedding.errors import LossNotFiniteError
from reeldex.embedding.model import TextVideoEmbedding
from reeldex.embedding.options import TrainingOptions
from reeldex.embedding.training.batch_loss import BatchLoss
from reeldex.embedding.training.batches import Batch
from reeldex.embedding.training.distributed import ProcessRank, gather, gather_ids


class _Towers(nn.Module):
    """Both embeddings in one forward pass, as DistributedDataParallel requires."""

    def __init__(self, model: TextVideoEmbedding) -> None:
        super().__init__()
        self.model = model

    def forward(self, videos: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.embed_videos(videos), self.model.embed_sentences(sentences)


class Update:
    """Updates a model by batches. With several processes, each has a part of the batch, and all make the same step."""

    def __init__(  # noqa: PLR0913, PLR0917 - the model and the parts of a step
        self,
        model: TextVideoEmbedding,
        loss: BatchLoss,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        process: ProcessRank,
        options: TrainingOptions,
    ) -> None:
        self._loss, self._optimizer, self._scaler, self._process = loss, optimizer, scaler, process
        self._mixed_precision = options.mixed_precision
        towers: nn.Module = _Towers(model)
        if process.world_size > 1:
            towers = DistributedDataParallel(towers, broadcast_buffers=False)
        self._towers = cast(nn.Module, torch.compile(towers)) if options.compile_model else towers

    def __call__(self, batch: Batch, place: str) -> float:
        """Make one step on a batch and return its loss.

        Raises LossNotFiniteError, which says what is at fault; `place` names the step in its message.
        """
        self._optimizer.zero_grad()
        with torch.autocast(batch.videos.device.type, torch.float16, enabled=self._mixed_precision):
            videos, sentences = self._towers(batch.videos, batch.sentences)
        everyone = self._process
        scores = gather(sentences.float(), everyone) @ gather(videos.float(), everyone).t()
        loss = self._loss(scores, gather(batch.class_ids, everyone))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._not_finite(value, batch, place)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return value

    def _not_finite(self, value: float, batch: Batch, place: str) -> LossNotFiniteError:
        ids = gather_ids(batch.clip_ids, self._process)
        finite = batch.videos.isfinite().all(dim=1) & batch.sentences.isfinite().flatten(1).all(dim=1)
        own = tuple(clip_id for clip_id, good in zip(batch.clip_ids, finite.tolist(), strict=True) if not good)
        culprits = gather_ids(own, self._process)
        cause = (
            f"Features or word vectors of {', '.join(culprits[:5])} are not finite: extract these videos again."
            if culprits
            else "All features are finite, so the weights have diverged: lower the learning rate."
        )
        return LossNotFiniteError(f"The loss of {place} is {value}. {cause} The batch held {', '.join(ids)}.", ids)
