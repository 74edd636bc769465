"""The types that every reader returns: samples to train on, and whole test sets to evaluate on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.protocols import ProtocolClaim, SetIdentity, identify, set_sha256
from reeldex.embedding.datasets.unusable import UnusableVideos
from reeldex.storage.schema import JSON

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RetrievalSample:
    """The sample of one index of a training set in one epoch: n pairs of a clip and a caption.

    `video` is (n, video_dim) float32, each stream L2-normalised. `clip_ids` name the clips in messages. `class_ids`
    are the verb classes of the EPIC-KITCHENS label files, -1 where there are none.
    """

    clip_ids: tuple[str, ...]
    video: Vectors
    captions: tuple[str, ...]
    class_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.class_ids:
            object.__setattr__(self, "class_ids", (-1,) * len(self.captions))
        counts = {len(self.clip_ids), len(self.captions), len(self.class_ids)}
        if self.video.ndim != 2 or counts != {len(self.video)} or not self.captions:
            raise ValueError(
                f"A sample needs a clip id, a vector and a caption for each pair; got {len(self.clip_ids)} ids, "
                f"vectors {self.video.shape}, {len(self.captions)} captions and {len(self.class_ids)} classes."
            )


def draw_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random generator of one sample, which depends on these three numbers alone."""
    return np.random.default_rng([seed, epoch, index])


class TrainingSet(Protocol):
    """Training samples; each depends on (seed, epoch, index) alone, not on the order of access."""

    @property
    def name(self) -> str:
        """The data set's name in the registry."""

    @property
    def video_dim(self) -> int:
        """Vector dimension."""

    @property
    def pairs_per_sample(self) -> int:
        """Pairs in each sample."""

    @property
    def unusable(self) -> UnusableVideos:
        """The videos that were left out."""

    def __len__(self) -> int: ...

    @property
    def videos(self) -> Sequence[str]:
        """The name of the video of each sample."""

    def fingerprints(self) -> dict[str, JSON]:
        """Return what defines the features of each stream, for a checkpoint."""

    def sample(self, seed: int, epoch: int, index: int) -> RetrievalSample:
        """Return one sample; raises FeaturesError when its features cannot be read."""

    def subset(self, indices: Sequence[int]) -> TrainingSet:
        """Return the training set of some of the samples."""

    def clips(self, indices: Sequence[int]) -> tuple[list[Clip], ClipReader]:
        """Return the clips of some of the samples, to evaluate on."""


class ClipReader(Protocol):
    """A source of clip vectors."""

    @property
    def video_dim(self) -> int:
        """Vector dimension."""

    def part(self, clip: Clip) -> Hashable:
        """Return which part of its video a clip is: those of one video with equal parts have the same vector."""

    def read(self, clip: Clip) -> Vectors:
        """Return a clip's (video_dim,) float32 vector; raises FeaturesError."""

    def fingerprints(self) -> dict[str, JSON]:
        """Return what defines the features of each stream, for a checkpoint."""


@dataclass(frozen=True, eq=False)
class ClipTrainingSet:
    """A training set of clips in groups; a sample is `pairs_per_sample` clips of one group, drawn with replacement.

    For each clip one of its captions is drawn. With one pair per sample, a group of one clip draws only the caption.
    `videos` names the video of each group; by default it is that of its first clip.
    """

    name: str
    groups: Sequence[Sequence[Clip]]
    reader: ClipReader
    pairs_per_sample: int = 1
    unusable: UnusableVideos = field(default_factory=UnusableVideos)
    videos: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.videos:
            object.__setattr__(self, "videos", tuple(group[0].video_id for group in self.groups if group))
        if self.pairs_per_sample < 1 or not self.groups or not all(self.groups):
            raise ValueError(f"{self.name} needs at least one pair per sample and one clip per group.")

    @property
    def video_dim(self) -> int:
        """Vector dimension."""
        return self.reader.video_dim

    def __len__(self) -> int:
        return len(self.groups)

    def fingerprints(self) -> dict[str, JSON]:
        """Return what defines the features of each stream, for a checkpoint."""
        return self.reader.fingerprints()

    def sample(self, seed: int, epoch: int, index: int) -> RetrievalSample:
        """Return one sample; raises FeaturesError when its features cannot be read."""
        draw = draw_generator(seed, epoch, index)
        group = self.groups[index]
        clips = [group[at] for at in draw.integers(len(group), size=self.pairs_per_sample)]
        return RetrievalSample(
            clip_ids=tuple(clip.clip_id for clip in clips),
            video=np.stack([self.reader.read(clip) for clip in clips]),
            captions=tuple(clip.captions[draw.integers(len(clip.captions))] for clip in clips),
            class_ids=tuple(clip.class_id for clip in clips),
        )

    def subset(self, indices: Sequence[int]) -> ClipTrainingSet:
        """Return the training set of some of the groups."""
        return replace(self, groups=[self.groups[at] for at in indices], videos=[self.videos[at] for at in indices])

    def clips(self, indices: Sequence[int]) -> tuple[list[Clip], ClipReader]:
        """Return the clips of some of the groups, to evaluate on."""
        return [clip for at in indices for clip in self.groups[at]], self.reader


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """N clips, each of which is one candidate, and M sentences to rank them by.

    `right_clips` (M,) int64 gives the clip that each sentence belongs to; several sentences may belong to one clip.
    By default the sentences are all captions of all clips. A clip without a sentence of its own is ranked too.
    `relevance`, where the protocol has several right clips, is (M, N) float64, 0 to 1. `claim` is what the
    user states about the set.
    """

    name: str
    clips: Sequence[Clip]
    reader: ClipReader
    captions: tuple[str, ...] = ()
    right_clips: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    relevance: npt.NDArray[np.float64] | None = None
    unusable: UnusableVideos = field(default_factory=UnusableVideos)
    claim: ProtocolClaim = field(default_factory=ProtocolClaim)

    def __post_init__(self) -> None:
        if not self.captions:
            object.__setattr__(self, "captions", tuple(said for clip in self.clips for said in clip.captions))
            counts = [len(clip.captions) for clip in self.clips]
            object.__setattr__(self, "right_clips", np.repeat(np.arange(len(counts), dtype=np.int64), counts))
        sentences, clips = len(self.captions), len(self.clips)
        if not clips or self.right_clips.shape != (sentences,):
            raise ValueError(
                f"{self.name} needs clips and a right one per sentence; got {clips} clips, {sentences} sentences "
                f"and {self.right_clips.shape} right clips."
            )
        if not ((self.right_clips >= 0) & (self.right_clips < clips)).all():
            raise ValueError(f"{self.name}: the right clip of a sentence is not one of the {clips} clips.")
        if self.relevance is not None and self.relevance.shape != (sentences, clips):
            raise ValueError(
                f"{self.name}: relevance is (sentences, clips) = ({sentences}, {clips}), not {self.relevance.shape}."
            )

    @property
    def video_dim(self) -> int:
        """Vector dimension."""
        return self.reader.video_dim

    @property
    def class_ids(self) -> npt.NDArray[np.int64]:
        """The (N,) int64 verb classes of the clips, -1 where there are none."""
        return np.array([clip.class_id for clip in self.clips], dtype=np.int64)

    def fingerprints(self) -> dict[str, JSON]:
        """Return what defines the features of each stream, to compare with a checkpoint."""
        return self.reader.fingerprints()

    def identity(self) -> SetIdentity:
        """Return which published test set this is, by its content, its counts and the user's claim."""
        ids = [clip.clip_id for clip in self.clips]
        pairs = zip((ids[at] for at in self.right_clips.tolist()), self.captions, strict=True)
        counts = (len(ids), len(self.captions))
        return identify(self.name, set_sha256(ids, pairs), counts, self.claim, complete=self.unusable.complete)

    def videos(self, first: int, stop: int) -> Vectors:
        """Return the vectors of the clips from `first` up to but not including `stop`: (n, video_dim) float32."""
        return np.stack([self.reader.read(clip) for clip in self.clips[first:stop]])
