"""A small real training: clips of a few kinds, captions that say the kind, and a network that can tell them apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.records import ClipTrainingSet, Vectors
from reeldex.embedding.errors import FeaturesError
from reeldex.embedding.model import ModelSpec
from reeldex.embedding.options import TrainingOptions
from reeldex.embedding.training.train import StepReport, TrainingJob, new_model
from reeldex.embedding.words.cache import write_cache
from reeldex.embedding.words.vectors import WordVectors
from reeldex.storage.schema import JSON

KINDS = ("red", "green", "blue", "round", "square", "striped", "slow", "fast")
SPEC = ModelSpec(video_dim=12, embed_dim=10, word_dim=6, sentence_dim=8, max_words=4)
OPTIONS = TrainingOptions(epochs=3, batch_size=4, learning_rate=0.01, log_every=2)


@dataclass(frozen=True)
class KindReader:
    """Vectors of clips named `<kind>-<number>`: the kind's own and a little noise of the clip's own."""

    video_dim: int = SPEC.video_dim
    broken: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()

    def part(self, clip: Clip) -> Hashable:
        return clip.clip_id

    def read(self, clip: Clip) -> Vectors:
        if clip.clip_id in self.unreadable:
            raise FeaturesError(f"{clip.clip_id} cannot be read")
        kind, number = clip.video_id.split("-")
        vector = np.random.default_rng(KINDS.index(kind)).normal(size=self.video_dim)
        vector += 0.1 * np.random.default_rng([KINDS.index(kind), int(number)]).normal(size=self.video_dim)
        if clip.clip_id in self.broken:
            vector[3] = np.nan
        return vector.astype(np.float32)

    def fingerprints(self) -> dict[str, JSON]:
        return {"2d": {"space": "net2d.v1", "fingerprint": {"fps": 1}}}


def clips(per_kind: int, first: int = 0) -> list[Clip]:
    return [
        Clip(f"{kind}-{number}", f"{kind}-{number}", (f"the {kind} one", f"{kind} again"), at)
        for number in range(first, first + per_kind)
        for at, kind in enumerate(KINDS)
    ]


def training_set(per_kind: int = 2, pairs: int = 1, **reader: Any) -> ClipTrainingSet:  # noqa: ANN401
    groups = [[clip] for clip in clips(per_kind)]
    return ClipTrainingSet("synthetic", groups, KindReader(**reader), pairs)


def word_vectors(folder: Path) -> WordVectors:
    """Vectors of the kinds' names and two more words, written once a folder."""
    cache = folder / "synthetic.words"
    if not cache.exists():
        words = [*KINDS, "the", "one"]
        vectors = np.random.default_rng(7).normal(size=(len(words), SPEC.word_dim))
        write_cache(cache, words, vectors, "synthetic words")
    return WordVectors(cache)


def job(folder: Path, **changes: Any) -> TrainingJob:  # noqa: ANN401
    """A training of the synthetic set to `folder`/run; `options` are changes of OPTIONS."""
    options = OPTIONS.replaced(**changes.pop("options", {}))
    fields: dict[str, Any] = {
        "model": new_model(SPEC, options.seed),
        "samples": training_set(),
        "words": changes.get("words") or word_vectors(folder),
        "options": options,
        "folder": folder / "run",
    }
    return TrainingJob(**{**fields, **changes})


def same_weights(one: Callable[[], dict[str, torch.Tensor]], other: Callable[[], dict[str, torch.Tensor]]) -> bool:
    first, second = one(), other()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Killed(BaseException):
    """Stands for the end of the process, which no handler of errors may catch."""


def kill_at(step: int) -> Callable[[StepReport], None]:
    """Return an `on_step` that ends the training after a step."""

    def on_step(report: StepReport) -> None:
        if report.step == step:
            raise Killed

    return on_step


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows of the training in `folder`/run: (step, value) by name."""
    # It takes a third of a second to import, in each process that collects the tests.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "run/tensorboard"))
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
