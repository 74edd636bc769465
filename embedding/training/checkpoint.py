"""Checkpoints: plain weights such as the published ones, and full checkpoints from which training can resume.

Both are read with `weights_only=True`: nothing in a file is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reeldex.embedding.errors import CheckpointError, CheckpointMismatchError, listed
from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.embedding.options import ModelOptions
from reeldex.embedding.words.published import is_google_news
from reeldex.embedding.words.vectors import WordVectors
from reeldex.storage.atomic import publish
from reeldex.storage.schema import JSON
from reeldex.storage.system_errors import refused_by_system
from reeldex.untrusted_files import BROKEN_PICKLE, load_torch_file, refused_by_torch

_MODEL = ModelOptions()

PUBLISHED_CHECKPOINT_URL = "https://www.rocq.inria.fr/cluster-willow/amiech/howto100m/models/howto100m_pt_model.pth"
"""Weights trained on HowTo100M; they need GoogleNews-vectors-negative300.bin and 2-D before 3-D features."""

_FORMAT = "reeldex-embedding"
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class Origin:
    """What a model was trained on.

    - `word_vectors`: hex SHA-256 of the word vectors' source; None when not known, as for the published checkpoint.
    - `features`: each stream, `2d` and `3d`, to its `space` and that space's `fingerprint`, in the order in which
      their vectors are joined; the space is None for files that do not record it. Empty when nothing is known.
    - `config`: the settings of the training.

    Raises ValueError for what is not JSON.
    """

    word_vectors: str | None = None
    features: Mapping[str, JSON] = field(default_factory=dict)
    config: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("features", "config"):
            try:
                copied = json.loads(json.dumps(getattr(self, name), allow_nan=False))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name} of a checkpoint must be JSON: {error}") from error
            object.__setattr__(self, name, copied)


@dataclass(frozen=True)
class TrainingState:
    """The state of a training.

    - `epoch`: epochs finished; `step_in_epoch`: steps done in the current one; `step`: total steps.
    - `loss_sum`: the sum of the losses of the current epoch.
    - `best`: the best figure so far, None before the first; `best_by`: its name.
    - `optimizer`, `scaler`: their state dicts, learning rates included.
    - `random_states`: what `random_states.capture` returned.
    """

    epoch: int
    step_in_epoch: int
    step: int
    loss_sum: float
    best: float | None
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any]
    random_states: Mapping[str, Any]
    best_by: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A model's sizes and weights, what it was trained on, and the state of its training (None: weights only).

    `is_plain`: read from a plain state dict, which records nothing but weights.
    """

    spec: ModelSpec
    weights: Mapping[str, Tensor]
    origin: Origin = field(default_factory=Origin)
    training: TrainingState | None = None
    is_plain: bool = False

    def model(self) -> TextVideoEmbedding:
        """Return the model, in evaluation mode; raises CheckpointError when the weights do not fit the sizes."""
        model = TextVideoEmbedding(self.spec)
        model.load_weights(self.weights)
        return model.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Publish a checkpoint atomically: after a kill the file is either the old or the new one."""
    training = checkpoint.training
    content = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "spec": asdict(checkpoint.spec),
        "weights": {name: value.detach().cpu() for name, value in checkpoint.weights.items()},
        # As JSON text, so that numbers, strings and nesting are restored exactly.
        "origin": json.dumps(asdict(checkpoint.origin)),
        "training": None if training is None else {name: getattr(training, name) for name in _training_fields()},
    }
    with publish(path) as temporary, temporary.open("wb") as file:
        # Given a path instead of a file object, torch would write the temporary's name into the file.
        torch.save(content, file)


def _training_fields() -> tuple[str, ...]:
    return tuple(TrainingState.__dataclass_fields__)


def load_checkpoint(path: Path, *, max_words: int = _MODEL.max_words) -> Checkpoint:
    """Read a checkpoint of `reeldex train`, or a plain state dict such as the published one.

    A state dict's sizes are taken from its shapes; `max_words`, which has no shape, applies to state dicts only. Raises
    CheckpointError for a file that is absent, damaged or not a text-video embedding.
    """
    content = _read(path)
    if content.get("format") == _FORMAT:
        return _from_own(path, content)
    # Other trainers store the weights under a key.
    state = content.get("state_dict", content)
    if not _are_weights(state):
        raise CheckpointError(
            f"{path} is not a checkpoint of a text-video embedding: it has {listed(map(str, content))}. "
            "Give the published checkpoint or one of `reeldex train`."
        )
    try:
        return Checkpoint(ModelSpec.from_state(state, max_words), state, is_plain=True)
    except (CheckpointError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _are_weights(held: object) -> bool:
    return isinstance(held, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in held.items()
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}. Correct the path, or fetch or train one.")
    try:
        content = load_torch_file(path)
    # For a file that is not a pickle, torch's reader raises errors of various types.
    except (RuntimeError, OSError, *BROKEN_PICKLE) as error:
        if (refused := refused_by_system(error)) is not None:
            raise CheckpointError(f"{path} cannot be read: {refused}") from error
        raise CheckpointError(
            f"{path} is not a PyTorch file that can be read safely: {refused_by_torch(error)}. Nothing of it was "
            "executed. Download it again, or use another file."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} contains a {type(content).__name__}, not weights by name. Use another file.")
    return content


def _from_own(path: Path, content: dict[str, Any]) -> Checkpoint:
    version = content.get("format_version")
    if version != _FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has the format version {version!r}, and this reeldex reads {_FORMAT_VERSION}. Use the reeldex "
            "that wrote it."
        )
    try:
        training = content["training"]
        if not _are_weights(content["weights"]):
            raise TypeError("its weights are not tensors by name")  # noqa: TRY301 - told below
        return Checkpoint(
            ModelSpec(**content["spec"]),
            content["weights"],
            Origin(**json.loads(content["origin"])),
            None if training is None else TrainingState(**training),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or was changed: {error!r}. Use another checkpoint.") from error


def require_word_vectors(checkpoint: Checkpoint, fingerprint: str, dim: int) -> None:
    """Raise CheckpointMismatchError when a checkpoint was trained with other word vectors than these."""
    if checkpoint.spec.word_dim != dim:
        raise CheckpointMismatchError(
            f"The checkpoint takes word vectors of {checkpoint.spec.word_dim} dimensions, and these have {dim}. Use "
            "the word vectors it was trained with; the published checkpoint's are GoogleNews-vectors-negative300.bin."
        )
    known = checkpoint.origin.word_vectors
    if known is not None and known != fingerprint:
        raise CheckpointMismatchError(
            f"The checkpoint was trained with word vectors of the SHA-256 {known}, and these have {fingerprint}. The "
            "vectors of its words would differ: use the file it was trained with."
        )


def require_known_word_vectors(checkpoint: Checkpoint, words: WordVectors, *, unchecked: bool) -> None:
    """Raise CheckpointMismatchError when it cannot be known that a checkpoint was trained with these word vectors.

    A plain state dict does not record its word vectors. GoogleNews' are accepted, with which the published one was
    trained; others only as `unchecked`.
    """
    if not checkpoint.is_plain or unchecked or is_google_news(words):
        return
    file = words.cache.name.rpartition("-")[0] or words.cache.name
    raise CheckpointMismatchError(
        "The checkpoint is a plain state dict: it does not record which word vectors it was trained with, and those of "
        f"{file} are not GoogleNews-vectors-negative300, with which the published one was trained. With other vectors "
        "than its own, its figures mean nothing. If you know that these are its own, say so: --word-vectors-unchecked "
        "(words.unchecked: true)."
    )


def require_features(checkpoint: Checkpoint, features: Mapping[str, JSON], video_dim: int) -> None:
    """Raise CheckpointMismatchError when a checkpoint was trained on features of another kind than these.

    `features` is as in `Origin`, `video_dim` the length of the joined vector. Only what both sides know is
    compared: for features from .npy, .pth and .pkl files that is the dimension alone, for imported ones whose space is
    claimed the space and what was recorded with the claim.
    """
    trained = {stream: _Stream.of(known) for stream, known in checkpoint.origin.features.items()}
    given = {stream: _Stream.of(known) for stream, known in features.items()}
    names = ", ".join(f"{stream} {known.space or 'of unknown kind'}" for stream, known in trained.items())
    if checkpoint.spec.video_dim != video_dim:
        raise CheckpointMismatchError(
            f"The checkpoint takes video vectors of {checkpoint.spec.video_dim} dimensions, and the features have "
            f"{video_dim}. It was trained on {names or 'features that it does not name'}; use such features."
        )
    for stream in [stream for stream in trained if stream in given]:
        one, other = trained[stream], given[stream]
        if one.space is None or other.space is None:
            continue
        if one.space != other.space:
            raise CheckpointMismatchError(
                f"The checkpoint was trained on {stream} features of {one.space}, and these are of {other.space}: "
                "they are not compatible. Use the same feature space, or start a new training."
            )
        keys = {*one.fingerprint, *other.fingerprint}
        if one.is_claimed or other.is_claimed:
            keys = {*one.fingerprint} & {*other.fingerprint} - {"claimed"}
        unlike = sorted(key for key in keys if one.fingerprint.get(key) != other.fingerprint.get(key))
        if unlike:
            raise CheckpointMismatchError(
                f"The {stream} features of {one.space} are not those the checkpoint was trained on: they differ in "
                f"{', '.join(unlike)}. Extract the videos with the same settings and weights, or start a new training."
            )


@dataclass(frozen=True)
class _Stream:
    """What is known of one stream of features."""

    space: str | None
    fingerprint: Mapping[str, JSON]

    @classmethod
    def of(cls, known: JSON) -> _Stream:
        held = known if isinstance(known, Mapping) else {}
        space, fingerprint = held.get("space"), held.get("fingerprint")
        return cls(str(space) if space else None, fingerprint if isinstance(fingerprint, Mapping) else {})

    @property
    def is_claimed(self) -> bool:
        """Whether these are imported features whose space is a claim, so that their other settings are not known."""
        return bool(self.fingerprint.get("claimed"))


def require_training(checkpoint: Checkpoint, path: Path) -> TrainingState:
    """Return the state of a training; raises CheckpointError when the file has weights only."""
    if checkpoint.training is None:
        raise CheckpointError(
            f"{path} contains weights only, so no training can be resumed from it. Start a training "
            "from these weights instead."
        )
    return checkpoint.training
