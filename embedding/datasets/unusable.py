"""What cannot be used of a data set: counted, listed with reasons, and left out, unless it is too much."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.errors import DatasetError, MissingVideosError
from reeldex.quantities import counted

log = logging.getLogger(__name__)

_LISTED = 10
_LONGEST_NAME = 100
_LONGEST_NAMES = 200


@dataclass(frozen=True)
class UnusableVideos:
    """The unusable videos of a data set, each with its reason; `total` counts all videos of the data set.

    `clips` are those left out of usable videos, by clip id. `rows` are annotation rows without a text or a valid time,
    by their place. `sentences` counts those left out of a test set because
    no video or clip that they describe can be used.
    """

    total: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)
    clips: Mapping[str, str] = field(default_factory=dict)
    sentences: int = 0
    rows: Mapping[str, str] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The share of the videos that cannot be used, 0 to 1."""
        return len(self.reasons) / self.total if self.total else 0.0

    @property
    def complete(self) -> bool:
        """Whether nothing was left out, which comparing with published figures requires."""
        return not (self.reasons or self.clips or self.sentences or self.rows)

    def __str__(self) -> str:
        said = []
        if self.reasons or not (self.clips or self.rows):
            said += [f"{len(self.reasons)} of {counted(self.total, 'video')} cannot be used.", *_listed(self.reasons)]
        if self.clips:
            of = "other" if self.reasons else "usable"
            said += [f"{counted(len(self.clips), 'clip')} of {of} videos cannot be used.", *_listed(self.clips)]
        if self.rows:
            said += [f"{counted(len(self.rows), 'annotation row')} cannot be used.", *_listed(self.rows)]
        return "\n".join(said)


def _listed(reasons: Mapping[str, str]) -> list[str]:
    """Return the first names with their reasons, and how many more there are; long names leave room for fewer."""
    lines: list[str] = []
    room = _LONGEST_NAMES
    for name, reason in islice(reasons.items(), _LISTED):
        shown = (name if name.isprintable() else repr(name))[:_LONGEST_NAME]
        room -= len(shown)
        if lines and room < 0:
            break
        lines.append(f"  {shown}: {reason}")
    rest = len(reasons) - len(lines)
    return [*lines, f"  and {rest} more"] if rest else lines


def exclude_unusable(
    name: str,
    video_ids: Iterable[str],
    problem: Callable[[str], str | None],
    max_missing_share: float,
    rows: Mapping[str, str] | None = None,
) -> UnusableVideos:
    """Return the videos that cannot be used, and log them; `rows` are annotation rows that were left out before.

    Raises MissingVideosError when they are more than `max_missing_share` (0 to 1) of all, or all.
    """
    if not 0 <= max_missing_share <= 1:
        raise ValueError(f"max_missing_share is a share from 0 to 1, not {max_missing_share}.")
    distinct = list(dict.fromkeys(video_ids))
    if not distinct:
        raise DatasetError(f"{name} names no videos: its files are empty.")
    found = UnusableVideos(
        len(distinct),
        {video_id: reason for video_id in distinct if (reason := problem(video_id)) is not None},
        rows=rows or {},
    )
    if found.share > max_missing_share or len(found.reasons) == found.total:
        raise MissingVideosError(
            f"{name}: {found}\nThat is {found.share:.1%}; at most {max_missing_share:.1%} may be missing. Extract "
            "these videos, correct the paths, or raise max_missing_share to continue without them."
        )
    if found.reasons:
        log.warning("%s continues without some videos: %s", name, found)
    return found


def without_clips(
    name: str, clips: Sequence[Clip], left_out: Mapping[str, str], unusable: UnusableVideos, max_missing_share: float
) -> tuple[list[Clip], UnusableVideos]:
    """Leave clips out of usable videos, and log them; raises MissingVideosError as `exclude_unusable` does."""
    found = replace(unusable, clips=left_out)
    if len(left_out) > max_missing_share * len(clips) or len(left_out) == len(clips):
        raise MissingVideosError(
            f"{name}: {found}\nAt most {max_missing_share:.1%} of the {len(clips)} clips may be missing. Check that "
            "annotations and features belong to the same videos, or raise max_missing_share to continue without them."
        )
    if left_out:
        log.warning("%s continues without some clips: %s", name, found)
    return [clip for clip in clips if clip.clip_id not in left_out], found
