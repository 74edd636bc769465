"""Parts of a training set: without excluded videos, a share of its videos, and a validation split by video."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from reeldex.embedding.datasets.candidates import distinct_candidates
from reeldex.embedding.datasets.id_lists import read_ids
from reeldex.embedding.datasets.options import TrainableOptions
from reeldex.embedding.datasets.records import EvaluationSet, TrainingSet
from reeldex.embedding.datasets.video_identity import VideoIdentity
from reeldex.embedding.errors import DatasetError
from reeldex.quantities import counted
from reeldex.storage.video_names import name_without_suffix

log = logging.getLogger(__name__)

VALIDATION = "validation"
"""The name of the validation split among the sets that are evaluated during training."""


def selected(samples: TrainingSet, options: TrainableOptions) -> TrainingSet:
    """Return a training set without the videos of `exclude`, and of the others the share `train_share`.

    Which videos belong to a share depends on their names alone; a smaller share is part of a larger one. Raises
    DatasetError when nothing is left.
    """
    if options.exclude is not None:
        excluded = _excluded(options.exclude)
        found = _meant(samples.videos, excluded)
        say = log.info if found else log.warning
        say(
            "%s: %s of the %d in %s left out",
            samples.name,
            counted(len(found), "video"),
            len(excluded),
            options.exclude,
        )
        if found:
            samples = _of_videos(samples, lambda video: video not in found, f"{options.exclude} names all videos")
    if options.train_share < 1:
        kept = _share(samples.videos, options.train_share)
        samples = _of_videos(samples, lambda video: video in kept, "train_share keeps no video")
        log.info("%s: a share of %g, %s", samples.name, options.train_share, counted(len(kept), "video"))
    return samples


def split_validation(samples: TrainingSet, share: float) -> tuple[TrainingSet, EvaluationSet]:
    """Return a training set without a share of its videos, and these as a set to evaluate on.

    A video is in one of them with all its clips; clips that are the same part of a video are one candidate. Which
    videos these are depends on their names alone. Raises DatasetError when either has no video.
    """
    held_out = _validation_videos(samples.name, samples.videos, share)
    rest = _of_videos(samples, lambda video: video not in held_out, "nothing is left to train on")
    rows, reader = samples.clips([at for at, video in enumerate(samples.videos) if video in held_out])
    if not rows:
        raise DatasetError(
            f"{samples.name}: no clip of the {counted(len(held_out), 'video')} held out for validation has usable "
            "features. Raise train.validation_share, or leave it out."
        )
    log.info("%s: %s held out for validation", samples.name, counted(len(held_out), "video"))
    identity = VideoIdentity(samples.videos)
    clips, captions, right = distinct_candidates(rows, [(identity.of(row.video_id), reader.part(row)) for row in rows])
    return rest, EvaluationSet(VALIDATION, clips, reader, captions, right)


def selected_count(name: str, videos: Sequence[str], options: TrainableOptions, validation_share: float) -> int:
    """Return how many of the samples of these videos `selected` and then `split_validation` would keep for training.

    Raises DatasetError as they do.
    """
    if options.exclude is not None:
        found = _meant(videos, _excluded(options.exclude))
        videos = [video for video in videos if video not in found]
    if options.train_share < 1:
        kept = _share(videos, options.train_share)
        videos = [video for video in videos if video in kept]
    if validation_share:
        held_out = _validation_videos(name, videos, validation_share)
        videos = [video for video in videos if video not in held_out]
    return len(videos)


def _share(videos: Sequence[str], share: float) -> set[str]:
    """Return the names of the videos of a share."""
    ordered, identity = _in_fixed_order(videos, "train_share")
    kept = set(ordered[: math.ceil(share * len(ordered))])
    return {video for video in videos if identity.of(video) in kept}


def _validation_videos(name: str, videos: Sequence[str], share: float) -> set[str]:
    """Return the names of the videos that are held out."""
    ordered, identity = _in_fixed_order(videos, VALIDATION)
    count = math.ceil(share * len(ordered))
    if not 0 < count < len(ordered):
        raise DatasetError(
            f"{name} has {counted(len(ordered), 'video')}, of which {count} would be for validation. Lower "
            "train.validation_share, or train on more videos."
        )
    held_out = set(ordered[:count])
    return {video for video in videos if identity.of(video) in held_out}


def _of_videos(samples: TrainingSet, wanted: Callable[[str], bool], otherwise: str) -> TrainingSet:
    kept = [at for at, video in enumerate(samples.videos) if wanted(video)]
    if not kept:
        raise DatasetError(f"{samples.name}: {otherwise}, so that nothing is left to train on.")
    return samples.subset(kept)


def _in_fixed_order(videos: Sequence[str], purpose: str) -> tuple[list[str], VideoIdentity]:
    """Return the distinct videos in an order that depends on their names and the purpose alone."""
    identity = VideoIdentity(videos)

    def key(video: str) -> bytes:
        return hashlib.sha256(f"{purpose} {video}".encode("utf-8", "surrogatepass")).digest()

    return sorted({identity.of(video) for video in videos}, key=lambda video: (key(video), video)), identity


def _excluded(path: Path) -> list[str]:
    """Return the videos in a list or a table."""
    ids = read_ids(path).rows
    if not ids:
        raise DatasetError(f"{path} names no videos. List their ids in it, or leave exclude out.")
    return list(dict.fromkeys(ids))


def _meant(videos: Sequence[str], names: Sequence[str]) -> set[str]:
    """Return those of the videos that names mean; a name without a folder means the videos of all folders."""
    identity = VideoIdentity(videos)
    meant = {identity.of(name) for name in names}
    bare = {name_without_suffix(name) for name in names if "/" not in name}
    return {video for video in videos if identity.of(video) in meant or name_without_suffix(video) in bare}
