"""The video tracks of a file, and the choice of one as players choose: pure decisions on ffmpeg's description."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_STREAM = re.compile(r"^ +Stream #0:(\d+).*?: Video: (.+)$", re.MULTILINE)
_SIZE = re.compile(r", (\d+)x(\d+)[ ,\n]")
# A track is a preview if another has at least so many times its pixels.
_PREVIEW_FACTOR = 3


@dataclass(frozen=True)
class VideoTrack:
    """A video stream of a file.

    `number` counts the file's video streams from 1, `stream` all of its streams from 0. `described` is ffmpeg's
    description of it, which ends at the position `end` of the whole text. Width and height are 0 if ffmpeg does not
    know them. `is_cover`: a picture that belongs to the file, not to its time, such as the cover of an album.
    """

    number: int
    stream: int
    described: str
    end: int
    width: int
    height: int

    @property
    def codec(self) -> str:
        """The name of the codec."""
        return self.described.split()[0].rstrip(",")

    @property
    def pixels(self) -> int:
        """Pixels of a picture."""
        return self.width * self.height

    @property
    def is_default(self) -> bool:
        """Whether the file marks the track as the one to show."""
        return "(default)" in self.described

    @property
    def is_cover(self) -> bool:
        """Whether the file marks the track as a picture beside the video."""
        return any(f"({mark})" in self.described for mark in ("attached pic", "timed thumbnails", "still image"))

    @property
    def is_known(self) -> bool:
        """Whether ffmpeg knows the size of its pictures."""
        return self.width > 0 and self.height > 0

    def __str__(self) -> str:
        size = f", {self.width} x {self.height}" if self.is_known else ""
        return f"{self.number} ({self.codec}{size})"


def video_tracks(text: str) -> tuple[VideoTrack, ...]:
    """Return the video tracks in ffmpeg's description of a file, in the order of its streams.

    A stream that belongs to several programs is described several times.
    """
    found = {int(match[1]): match for match in reversed(list(_STREAM.finditer(text)))}
    tracks = []
    for number, (stream, match) in enumerate(sorted(found.items()), start=1):
        size = _SIZE.search(match[2] + "\n")
        width, height = (int(size[1]), int(size[2])) if size else (0, 0)
        tracks.append(VideoTrack(number, stream, match[2], match.end(), width, height))
    return tuple(tracks)


def candidates(tracks: Sequence[VideoTrack]) -> tuple[VideoTrack, ...]:
    """Return the tracks that may be the video, the preferred one first."""
    return _by_preference([track for track in tracks if track.is_known and not track.is_cover])


def _by_preference(tracks: Sequence[VideoTrack]) -> tuple[VideoTrack, ...]:
    """Return the tracks marked as default first, previews last of these, and otherwise in the order of the file.

    The published extractor takes the first track. Players prefer the largest one, which makes a difference only if the
    first is a preview.
    """
    marked = [track for track in tracks if track.is_default] or tracks
    largest = max((track.pixels for track in marked), default=0)
    return tuple(
        sorted(
            tracks,
            key=lambda track: (not track.is_default, _PREVIEW_FACTOR * track.pixels <= largest, track.stream),
        )
    )


def choose(preferred: Sequence[VideoTrack], stills: Collection[int]) -> VideoTrack:
    """Return the preferred track of those whose stream is not in `stills`, or of all if all are."""
    moving = [track for track in preferred if track.stream not in stills]
    return _by_preference(moving or preferred)[0]


def choice_sentence(
    chosen: VideoTrack, preferred: Sequence[VideoTrack], stills: Collection[int], *, requested: bool
) -> str | None:
    """Return which track was chosen and why; None if there was no choice."""
    others = sorted((track for track in preferred if track.stream != chosen.stream), key=lambda track: track.number)
    if not others:
        return None
    why = "as requested" if requested else _reason(chosen, others, stills)
    listed = ", ".join(f"{track}{' with a single picture' if track.stream in stills else ''}" for track in others)
    return f"Video track {chosen} was decoded, {why}; the file also has track{'s' if len(others) > 1 else ''} {listed}."


def _reason(chosen: VideoTrack, others: Sequence[VideoTrack], stills: Collection[int]) -> str:
    moving = [track for track in others if track.stream not in stills]
    if not moving and chosen.stream not in stills:
        return "the only moving picture"
    before = [track for track in moving if track.stream < chosen.stream]
    if chosen.is_default and not any(track.is_default for track in moving):
        return "the one marked as default"
    return "as those before it are not the default or much smaller" if before else "the first one"
