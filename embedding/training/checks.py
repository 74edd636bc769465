"""Checks that the inputs of a training match each other, and those of the training it resumes."""

from __future__ import annotations

import hashlib
import json

from reeldex.embedding.datasets.records import TrainingSet
from reeldex.embedding.errors import CheckpointMismatchError, TrainingError
from reeldex.embedding.model import ModelSpec
from reeldex.embedding.options import TrainingOptions
from reeldex.embedding.training.checkpoint import Checkpoint, require_features, require_word_vectors
from reeldex.embedding.words.vectors import WordVectors
from reeldex.storage.schema import JSON

_PROBES = 8
# Options that may change when a training is resumed: they do not change the weights, or only when it ends.
_FREE = frozenset(
    {"epochs", "workers", "device", "compile_model", "evaluate_every", "checkpoint_every_steps", "best_by", "log_every"}
)

_ADDED_OPTIONS: dict[str, JSON] = {"validation_share": 0.0}


def description(samples: TrainingSet, seed: int) -> dict[str, JSON]:
    """Return what a resumed training must find unchanged of its data, beside the features' own fingerprints.

    `drawn` is a hash of a few samples of the first epoch: it changes with other captions, another order, or windows
    of another length. `damaged_rows` is recorded only when they are skipped. Raises FeaturesError as these samples do.
    """
    spread = sorted({len(samples) * part // _PROBES for part in range(_PROBES)})
    drawn = [samples.sample(seed, 0, index) for index in spread]
    text = json.dumps([[sample.clip_ids, sample.captions, sample.class_ids] for sample in drawn])
    streams = [each for each in samples.fingerprints().values() if isinstance(each, dict)]
    skipped: dict[str, JSON] = {"damaged_rows": "skipped"} if any("damaged_rows" in each for each in streams) else {}
    return {
        "name": samples.name,
        "count": len(samples),
        "pairs_per_sample": samples.pairs_per_sample,
        "drawn": hashlib.sha256(text.encode()).hexdigest()[:16],
        **skipped,
    }


def require_fit(spec: ModelSpec, samples: TrainingSet, words: WordVectors) -> None:
    """Raise TrainingError when a model does not match the dimensions of these video or word vectors."""
    if spec.video_dim != samples.video_dim:
        raise TrainingError(
            f"The model takes video vectors of {spec.video_dim} dimensions, and those of {samples.name} have "
            f"{samples.video_dim}. Set the model's video_dim to that number, or use other features."
        )
    if spec.word_dim != words.dim:
        raise TrainingError(
            f"The model takes word vectors of {spec.word_dim} dimensions, and these have {words.dim}. Set the "
            "model's word_dim to that number, or use other word vectors."
        )


def require_same(begun: Checkpoint, now: Checkpoint, word_dim: int, options: TrainingOptions) -> None:
    """Raise CheckpointMismatchError when a training cannot be resumed with these inputs.

    `begun` is its checkpoint; `now` has the sizes and the origin it would have now. What does not change the weights,
    such as the number of epochs or of data workers, may differ.
    """
    require_word_vectors(begun, str(now.origin.word_vectors), word_dim)
    require_features(begun, now.origin.features, now.spec.video_dim)
    unlike = differences(options, begun.origin.config.get("options"))
    before, after = begun.origin.config.get("samples"), now.origin.config.get("samples")
    if before != after:
        unlike.append(f"the samples were {before} and are {after}")
    if begun.spec != now.spec:
        unlike.append(f"the model was {begun.spec} and is {now.spec}")
    if unlike:
        raise CheckpointMismatchError(
            f"The training was started with other settings: {'; '.join(unlike)}. Resume it with the same ones, or "
            "choose another folder for a new one."
        )


def differences(options: TrainingOptions, trained: object) -> list[str]:
    """Return the options that change weights and differ from those that the training was started with.

    `trained` is the result of `TrainingOptions.model_dump` that a checkpoint records; an option that was added since
    then had its default.
    """
    known = {**_ADDED_OPTIONS, **trained} if isinstance(trained, dict) else {}
    return [
        f"{name} was {known.get(name)!r} and is {value!r}"
        for name, value in options.model_dump(mode="json").items()
        if name not in _FREE and known.get(name) != value
    ]
