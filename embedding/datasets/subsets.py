"""Parts of a training set: without excluded videos, a share of its videos, and a validation split by video."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from reeldex.embedding.datasets.options import TrainableOptions
from reeldex.embedding.datasets.records import EvaluationSet, TrainingSet
from reeldex.embedding.datasets.tables import read_list, read_table
from reeldex.embedding.errors import DatasetError
from reeldex.quantities import counted
from reeldex.storage.video_names import name_without_suffix

log = logging.getLogger(__name__)

VALIDATION = "validation"
"""The name of the validation split among the sets that are evaluated during training."""

_ID = "video_id"


def selected(samples: TrainingSet, options: TrainableOptions) -> TrainingSet:
    """Return a training set without the videos of `exclude`, and of the others the share `train_share`.

    Which videos belong to a share depends on their names alone; a smaller share is part of a larger one. Raises
    DatasetError when nothing is left.
    """
    if options.exclude is not None:
        excluded = _read_ids(options.exclude)
        found = _those_of(excluded, samples.videos)
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

    A video is in one of them with all its clips. Which videos these are depends on their names alone. Raises
    DatasetError when either has no video.
    """
    held_out = _validation_videos(samples.name, samples.videos, share)
    rest = _of_videos(samples, lambda video: video not in held_out, "nothing is left to train on")
    clips, reader = samples.clips([at for at, video in enumerate(samples.videos) if video in held_out])
    log.info("%s: %s held out for validation", samples.name, counted(len(held_out), "video"))
    return rest, EvaluationSet(VALIDATION, clips, reader)


def selected_count(name: str, videos: Sequence[str], options: TrainableOptions, validation_share: float) -> int:
    """Return how many of the samples of these videos `selected` and then `split_validation` would keep for training.

    Raises DatasetError as they do.
    """
    if options.exclude is not None:
        found = _those_of(_read_ids(options.exclude), videos)
        videos = [video for video in videos if video not in found]
    if options.train_share < 1:
        kept = _share(videos, options.train_share)
        videos = [video for video in videos if video in kept]
    if validation_share:
        held_out = _validation_videos(name, videos, validation_share)
        videos = [video for video in videos if video not in held_out]
    return len(videos)


def _those_of(excluded: Collection[str], videos: Sequence[str]) -> set[str]:
    return {video for video in videos if name_without_suffix(video) in excluded}


def _share(videos: Sequence[str], share: float) -> set[str]:
    ordered = _in_fixed_order(videos, "train_share")
    return set(ordered[: math.ceil(share * len(ordered))])


def _validation_videos(name: str, videos: Sequence[str], share: float) -> set[str]:
    ordered = _in_fixed_order(videos, VALIDATION)
    count = math.ceil(share * len(ordered))
    if not 0 < count < len(ordered):
        raise DatasetError(
            f"{name} has {counted(len(ordered), 'video')}, of which {count} would be for validation. Lower "
            "train.validation_share, or train on more videos."
        )
    return set(ordered[:count])


def _of_videos(samples: TrainingSet, wanted: Callable[[str], bool], otherwise: str) -> TrainingSet:
    kept = [at for at, video in enumerate(samples.videos) if wanted(video)]
    if not kept:
        raise DatasetError(f"{samples.name}: {otherwise}, so that nothing is left to train on.")
    return samples.subset(kept)


def _in_fixed_order(videos: Sequence[str], purpose: str) -> list[str]:
    """Return the distinct videos in an order that depends on their names and the purpose alone."""

    def key(video: str) -> bytes:
        return hashlib.sha256(f"{purpose} {name_without_suffix(video)}".encode("utf-8", "surrogatepass")).digest()

    return sorted(set(videos), key=lambda video: (key(video), video))


def _read_ids(path: Path) -> set[str]:
    """Read the column video_id of a table, or without a header one id per line."""
    rows = read_list(path, _ID)
    ids = {row.text(_ID) for row in (read_table(path, [_ID]) if rows is None else rows)}
    if not ids:
        raise DatasetError(f"{path} names no videos. List their ids in it, or leave exclude out.")
    return {name_without_suffix(each) for each in ids}
