"""The text-video embedding of the HowTo100M paper: two towers into a joint space.

Parameters are named as in the published checkpoint, so weights are compatible in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from reeldex.embedding.errors import CheckpointError
from reeldex.embedding.options import ModelOptions

_PUBLISHED = ModelOptions()
# The entries of the published checkpoint, in this order, whose shapes determine the model's sizes.
_SIZED_BY = ("GU_video.fc.weight", "GU_text.fc.weight", "text_pooling.fc.weight")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The sizes that define the shapes of a model; the defaults are those of the published checkpoint.

    - `video_dim`: dimension of a video's vector, 2-D and 3-D together.
    - `embed_dim`: dimension of the joint embedding.
    - `word_dim`: dimension of a word vector.
    - `sentence_dim`: dimension of a sentence's vector before the gated unit; 0 or less stands for `embed_dim`.
    - `max_words`: words of a sentence that are used. No weight depends on it, but the zeros that pad a sentence
      take part in the maximum over its words.

    Raises ValueError for numbers below 1.
    """

    video_dim: int = 4096
    embed_dim: int = _PUBLISHED.embed_dim
    word_dim: int = 300
    sentence_dim: int = _PUBLISHED.sentence_dim
    max_words: int = _PUBLISHED.max_words

    def __post_init__(self) -> None:
        if self.sentence_dim <= 0:
            object.__setattr__(self, "sentence_dim", self.embed_dim)
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} of a model must be a whole number of at least 1, not {value!r}")

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], max_words: int = _PUBLISHED.max_words) -> ModelSpec:
        """Return the sizes that a state dict's shapes imply; raises CheckpointError for another network's."""
        absent = [name for name in _SIZED_BY if name not in state]
        if absent:
            raise CheckpointError(
                f"These are not the weights of a text-video embedding: they lack {', '.join(absent)} and begin with "
                f"{', '.join(list(state)[:3]) or 'nothing'}. Use the published checkpoint or one of `reeldex train`."
            )
        shapes = [tuple(state[name].shape) for name in _SIZED_BY]
        if any(len(shape) != 2 for shape in shapes):
            raise CheckpointError(f"Weights of a text-video embedding are matrices, but here have shapes {shapes}.")
        (embed_dim, video_dim), (_, sentence_dim), (_, word_dim) = shapes
        return cls(video_dim, embed_dim, word_dim, sentence_dim, max_words)


class SentenceEncoder(nn.Module):
    """Word vectors (N, W, word_dim) to sentences (N, sentence_dim): linear, ReLU, maximum over the W words."""

    def __init__(self, word_dim: int, sentence_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(word_dim, sentence_dim)

    def forward(self, words: Tensor) -> Tensor:
        """Encode (N, W, word_dim)."""
        return functional.relu(self.fc(words)).amax(dim=1)


class UnusedBatchNorm(nn.Module):
    """The statistics that the published checkpoint contains and its network never uses.

    They are buffers under their published names, so a state dict has exactly the published entries.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(dim))
        self.register_buffer("bias", torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))


class ContextGate(nn.Module):
    """x * sigmoid(W x + b) over (N, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(dim, dim)
        self.batch_norm = UnusedBatchNorm(dim)

    def forward(self, values: Tensor) -> Tensor:
        """Gate (N, dim)."""
        return values * torch.sigmoid(self.fc(values))


class GatedEmbeddingUnit(nn.Module):
    """(N, in_dim) to (N, out_dim) of L2 norm 1: linear, context gate, normalise."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_dim, out_dim)
        self.cg = ContextGate(out_dim)

    def forward(self, values: Tensor) -> Tensor:
        """Embed (N, in_dim)."""
        return functional.normalize(self.cg(self.fc(values)), dim=1)


class TextVideoEmbedding(nn.Module):
    """Embeds videos and sentences in a joint space, where the inner product is the score of a pair.

    Method: Miech et al., HowTo100M, arXiv 1906.03327, section 4.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.text_pooling = SentenceEncoder(spec.word_dim, spec.sentence_dim)
        self.GU_text = GatedEmbeddingUnit(spec.sentence_dim, spec.embed_dim)
        self.GU_video = GatedEmbeddingUnit(spec.video_dim, spec.embed_dim)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], max_words: int = _PUBLISHED.max_words) -> TextVideoEmbedding:
        """Return a model of the sizes of a state dict, with these weights; raises CheckpointError."""
        model = cls(ModelSpec.from_state(state, max_words))
        model.load_weights(state)
        return model

    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict; its unused `batch_norm` entries may be absent.

        Raises CheckpointError naming what is missing, left over, or of another shape.
        """
        own = self.state_dict()
        missing = [name for name in own if name not in state and ".batch_norm." not in name]
        unknown = [name for name in state if name not in own]
        unlike = [
            f"{name} is {tuple(state[name].shape)} and should be {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ]
        faults = [
            *([f"missing: {', '.join(missing)}"] if missing else []),
            *([f"unknown: {', '.join(unknown)}"] if unknown else []),
            *unlike,
        ]
        if faults:
            raise CheckpointError(
                f"The weights do not fit a model with {self.spec}: {'; '.join(faults)}. Give a checkpoint of such a "
                "model, or leave the sizes out of the configuration: they are read from the checkpoint."
            )
        self.load_state_dict(dict(state), strict=False)

    def embed_videos(self, videos: Tensor) -> Tensor:
        """(N, video_dim) float to (N, embed_dim), each row of norm 1."""
        embedded: Tensor = self.GU_video(videos)
        return embedded

    def embed_sentences(self, sentences: Tensor) -> Tensor:
        """(N, W, word_dim) float, zero padded, to (N, embed_dim), each row of norm 1."""
        embedded: Tensor = self.GU_text(self.text_pooling(sentences))
        return embedded

    def forward(self, videos: Tensor, sentences: Tensor) -> Tensor:
        """Score (Nv, video_dim) videos against (Nt, W, word_dim) sentences: (Nt, Nv), in -1..1."""
        return self.embed_sentences(sentences) @ self.embed_videos(videos).t()
