"""Compares the features of two stores or folders of .npy files, video by video and row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reeldex.storage.comparison.causes import Cause, likely_causes
from reeldex.storage.comparison.feature_sets import FeatureSet, FeatureSets, open_feature_sets
from reeldex.storage.comparison.rows import EQUAL_COSINE, RowsComparison, compare_rows
from reeldex.storage.errors import StoreError, StoreUnreadableError
from reeldex.storage.video_names import KnownVideos

# Rows of so many videos whose rows differ, and of so many others, are kept to find the cause.
_SAMPLED_VIDEOS = 64
_VERSIONS = ("ffmpeg", "runtime", "device", "torch")


@dataclass(frozen=True)
class VideoComparison:
    """One video of both; `other_id` is its id in B. `problem` is why its rows could not be compared."""

    video_id: str
    other_id: str
    seconds_per_row: float | None
    rows: RowsComparison | None
    problem: str | None = None


@dataclass(frozen=True)
class SpaceComparison:
    """One feature space of both.

    `spaces` are its names in A and B, None where nothing names it. `only_in_a` and `only_in_b` are ids of videos that
    the other one lacks. `recorded` names each setting and version that is recorded of both and differs.
    """

    spaces: tuple[str | None, str | None]
    videos: tuple[VideoComparison, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    recorded: tuple[str, ...]
    causes: tuple[Cause, ...]

    def differing(self, least_cosine: float) -> list[VideoComparison]:
        """Return the videos that do not agree, those with the smallest cosines first."""
        found = [each for each in self.videos if each.rows is None or not each.rows.agrees(least_cosine)]
        return sorted(found, key=lambda each: each.rows.least if each.rows and each.rows.least_row is not None else -2)

    def agrees(self, least_cosine: float) -> bool:
        """Return whether both have the same videos, and all of them agree."""
        return bool(self.videos) and not (self.only_in_a or self.only_in_b or self.differing(least_cosine))


@dataclass(frozen=True)
class Comparison:
    """All feature spaces of both, and the spaces that only one of them has."""

    spaces: tuple[SpaceComparison, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]

    def agrees(self, least_cosine: float) -> bool:
        """Return whether both have the same spaces and videos, and all rows agree."""
        return not (self.only_in_a or self.only_in_b) and all(each.agrees(least_cosine) for each in self.spaces)


def compare_features(
    path_a: Path,
    path_b: Path,
    space: str | None = None,
    *,
    least_cosine: float = EQUAL_COSINE,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare two stores, or a store and a folder of .npy files; a video is found by its id or its name in data sets.

    `space` selects one feature space, and names that of a folder whose files are not in a folder of their space.
    `progress` is called with (videos compared, videos of the space). Raises StoreError when feature spaces cannot be
    paired, and StoreUnreadableError.
    """
    pairs, only_in_a, only_in_b = _paired(path_a, path_b, space)
    compared = [_compare(a, b, least_cosine, progress) for a, b in pairs]
    return Comparison(tuple(compared), tuple(only_in_a), tuple(only_in_b))


def _paired(
    path_a: Path, path_b: Path, space: str | None
) -> tuple[list[tuple[FeatureSet, FeatureSet]], list[str], list[str]]:
    """Return the sets to be compared, and the names of the spaces that only A or only B has."""
    found = (open_feature_sets(path_a), open_feature_sets(path_b))
    if space is not None:
        return [(_named(path_a, found[0], space), _named(path_b, found[1], space))], [], []
    pairs = pair_spaces(found[0].sets, found[1].sets)
    if not pairs:
        raise StoreError(
            f"{path_a} ({', '.join(found[0].names)}) and {path_b} ({', '.join(found[1].names)}) have no feature space "
            "in common. Name the one that is meant with --space."
        )
    only_in_a = [str(each.space) for each in found[0].sets if each not in [a for a, _ in pairs]]
    only_in_b = [str(each.space) for each in found[1].sets if each not in [b for _, b in pairs]]
    # Of a store and the folder of one space, the store's other spaces are not missing.
    return pairs, [] if found[1].chosen else only_in_a, [] if found[0].chosen else only_in_b


def _named(path: Path, found: FeatureSets, space: str) -> FeatureSet:
    chosen = [each for each in found.sets if each.space == space or (each.space is None and found.chosen)]
    if not chosen:
        raise StoreError(f"{path} has no feature space {space!r}. It has: {', '.join(found.names)}.")
    return chosen[0]


def pair_spaces(sets_a: Sequence[FeatureSet], sets_b: Sequence[FeatureSet]) -> list[tuple[FeatureSet, FeatureSet]]:
    """Pair feature sets: those of one space, then the only ones of one network, then the only ones at all."""
    if len(sets_a) == len(sets_b) == 1:
        return [(sets_a[0], sets_b[0])]
    pairs = [(a, b) for a in sets_a for b in sets_b if a.space is not None and a.space == b.space]
    left = [
        {each.space: each for each in sets if each.space and each.space not in [a.space for a, _ in pairs]}
        for sets in (sets_a, sets_b)
    ]
    for a in left[0].values():
        same = [[each for each in one.values() if _network(each) == _network(a)] for one in left]
        if len(same[0]) == len(same[1]) == 1:
            pairs.append((a, same[1][0]))
    return pairs


def _network(found: FeatureSet) -> str:
    return (found.space or "").partition(".")[0]


def _compare(
    a: FeatureSet, b: FeatureSet, least_cosine: float, progress: Callable[[int, int], None] | None
) -> SpaceComparison:
    pairs, only_in_a, only_in_b = _same_videos(a.ids, b.ids)
    videos: list[VideoComparison] = []
    kept = {True: 0, False: 0}
    for number, (video_id, other_id) in enumerate(pairs):
        each = _compare_video(a, b, video_id, other_id)
        if each.rows is not None and each.rows.sample is not None:
            differs = each.rows.least < least_cosine
            kept[differs] += 1
            if kept[differs] > _SAMPLED_VIDEOS:
                each = replace(each, rows=replace(each.rows, sample=None))
        videos.append(each)
        if progress:
            progress(number + 1, len(pairs))
    compared = [each.rows for each in videos if each.rows is not None]
    return SpaceComparison(
        (a.space, b.space),
        tuple(videos),
        only_in_a,
        only_in_b,
        _recorded(a, b, pairs),
        likely_causes(compared, least_cosine),
    )


def _same_videos(
    ids_a: Sequence[str], ids_b: Sequence[str]
) -> tuple[list[tuple[str, str]], tuple[str, ...], tuple[str, ...]]:
    """Pair ids: equal ones, and others by the names that data sets use, if one of both has only one such video."""
    known_a, known_b = KnownVideos(ids_a), KnownVideos(ids_b)
    pairs: dict[str, str] = {}
    taken = set(ids_a) & set(ids_b)
    for video_id in ids_a:
        meant = [video_id] if video_id in taken else known_b.meant(video_id)
        if len(meant) == 1 and (video_id in taken or meant[0] not in taken):
            pairs[video_id] = meant[0]
            taken.add(meant[0])
    for video_id in ids_b:
        meant = known_a.meant(video_id)
        if video_id not in taken and len(meant) == 1 and meant[0] not in pairs:
            pairs[meant[0]] = video_id
            taken.add(video_id)
    return (
        [(video_id, pairs[video_id]) for video_id in ids_a if video_id in pairs],
        tuple(video_id for video_id in ids_a if video_id not in pairs),
        tuple(video_id for video_id in ids_b if video_id not in taken),
    )


def _compare_video(a: FeatureSet, b: FeatureSet, video_id: str, other_id: str) -> VideoComparison:
    try:
        (rows_a, seconds_a), (rows_b, seconds_b) = a.load(video_id), b.load(other_id)
        return VideoComparison(video_id, other_id, seconds_a or seconds_b, compare_rows(rows_a, rows_b))
    except StoreUnreadableError:
        raise
    except (StoreError, ValueError) as error:
        return VideoComparison(video_id, other_id, None, None, str(error))


def _recorded(a: FeatureSet, b: FeatureSet, pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the settings, and the versions of the first video, that are recorded of both and differ."""
    found = []
    if a.fingerprint is not None and b.fingerprint is not None:
        found += _unlike(a.fingerprint, b.fingerprint)
    if pairs:
        made_a, made_b = a.provenance(pairs[0][0]), b.provenance(pairs[0][1])
        both = [name for name in _VERSIONS if name in made_a and name in made_b]
        found += _unlike({name: made_a[name] for name in both}, {name: made_b[name] for name in both})
    return tuple(found)


def _unlike(one: Mapping[str, object], other: Mapping[str, object], prefix: str = "") -> list[str]:
    found = []
    for name in sorted({*one, *other}):
        first, second = one.get(name), other.get(name)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            found += _unlike(first, second, f"{prefix}{name}.")
        elif first != second:
            found.append(f"{prefix}{name}: {json.dumps(first)} in A, {json.dumps(second)} in B")
    return found
