"""Cuts the frames of one decoded file into those of its clips: parts of a file that are videos of their own.

The samples of a clip are samples of the file: a clip's first frame is the first sample at or after its start. All clips
of a file thus share one decoding, and overlapping ones have equal rows where their frames are grouped alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from reeldex.extractors.damage import Ranges, rows_of_samples
from reeldex.extractors.errors import FailureReason
from reeldex.extractors.frames import DecodeSummary, ExtractionFailure, FrameBatch, VideoSource
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.pictures import damage_note

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reeldex.extractors.spec import ExtractorSpec

_ROUNDING = 1e-6  # in samples: a time such as 0.1 s is not exact in binary


def span_samples(frames_per_second: int, start_seconds: float, end_seconds: float | None) -> tuple[int, int | None]:
    """Return (first, stop) of the samples of a clip; stop is None up to the file's end.

    A clip too short to contain a sample has one: the one that is shown when it starts.
    """
    first = math.ceil(start_seconds * frames_per_second - _ROUNDING)
    if end_seconds is None:
        return first, None
    stop = math.ceil(end_seconds * frames_per_second - _ROUNDING)
    return (first, stop) if stop > first else (_shown_at(frames_per_second, start_seconds), first)


def _shown_at(frames_per_second: int, seconds: float) -> int:
    return math.floor(seconds * frames_per_second + _ROUNDING)


def sharing_a_decoding(sources: Sequence[VideoSource]) -> list[dict[int, VideoSource]]:
    """Group sources by number: clips of one file share its decoding, each other source has its own."""
    groups: list[dict[int, VideoSource]] = []
    of_file: dict[str, dict[int, VideoSource]] = {}
    for number, source in enumerate(sources):
        group = of_file.get(source.path) if source.is_clip else None
        if group is None:
            group = {}
            groups.append(group)
        if source.is_clip:
            of_file[source.path] = group
        group[number] = source
    return groups


def cut(
    items: Iterable[FrameBatch | DecodeSummary],
    sources: Sequence[VideoSource],
    specs: Sequence[ExtractorSpec],
) -> Iterator[tuple[int, FrameBatch | DecodeSummary | ExtractionFailure]]:
    """Yield (source's index, item) for all sources of one file from the items of `decode`.

    Each FrameBatch except a source's last per extractor holds whole clips of frames. A source that begins after the end
    of the file becomes an ExtractionFailure.
    """
    cutters = [{spec.name: _Cutter(spec, source) for spec in specs} for source in sources]
    for item in items:
        for at, source in enumerate(sources):
            if isinstance(item, FrameBatch):
                yield from ((at, batch) for batch in cutters[at][item.extractor].push(item.frames))
            elif not source.is_clip:
                yield at, item
            else:
                yield from ((at, each) for each in _ended(source, item, list(cutters[at].values())))


def _ended(
    source: VideoSource, summary: DecodeSummary, cutters: Sequence[_Cutter]
) -> Iterator[FrameBatch | DecodeSummary | ExtractionFailure]:
    finest = max(cutters, key=lambda cutter: cutter.rate)
    picture_end = _picture_end(summary, finest.rate)
    for cutter in cutters:
        yield from cutter.finish(begins_in_picture=source.start_seconds < picture_end)
    if any(cutter.frame_count == 0 for cutter in cutters):
        yield ExtractionFailure(
            source,
            FailureReason.DECODE_ERROR,
            f"The clip starts at {source.start_seconds:g} s, but the picture ends at {picture_end:.7g} s. "
            "Correct the list, or replace the file if it should be longer.",
        )
        return
    seconds = finest.frame_count / finest.rate
    wanted = None if source.end_seconds is None else source.end_seconds - source.start_seconds
    # As for a whole file, but a clip of a truncated file is intact if it ends before the break.
    is_short = wanted is not None and wanted - seconds > max(1.0, 0.02 * wanted)
    truncated = is_short if wanted is not None else summary.truncated
    rows = {cutter.name: cutter.damaged_rows(summary.damaged_samples[cutter.name]) for cutter in cutters}
    notes = dict(summary.notes)
    notes.pop(NoteKind.DAMAGED_ROWS, None)
    if any(ranges != () for ranges in rows.values()):
        notes |= damage_note(rows)
    is_intact = all(ranges == () for ranges in rows.values())
    yield replace(
        summary,
        decoded_seconds=seconds,
        picture_end_seconds=picture_end,
        truncated=truncated,
        error_count=0 if is_intact else summary.error_count,
        first_error="" if is_intact else summary.first_error,
        first_row_seconds={cutter.name: cutter.first_seconds for cutter in cutters},
        damaged_rows=rows,
        notes=notes,
    )


def _picture_end(summary: DecodeSummary, rate: int) -> float:
    """Return where a file's picture ends: the number of samples is rounded, by half a sample at most."""
    decoded, stated = summary.decoded_seconds, summary.metadata.end_seconds
    return decoded if stated is None else max(decoded, min(stated, decoded + 0.5 / rate))


class _Cutter:
    """Selects one source's frames for one extractor, in whole clips of frames."""

    def __init__(self, spec: ExtractorSpec, source: VideoSource) -> None:
        self.name = spec.name
        self.rate = spec.frames_per_second
        self.frame_count = 0  # frames of the source so far
        self._spec = spec
        self._is_clip = source.is_clip
        self._first, self._stop = span_samples(self.rate, source.start_seconds, source.end_seconds)
        self._shown = _shown_at(self.rate, source.start_seconds)
        # The sample shown when the clip starts, or the file's last: for a clip without a sample of its own.
        self._spare: NDArray[np.uint8] | None = None
        self._passed = 0  # frames of the file so far
        self._rest: NDArray[np.uint8] | None = None

    def push(self, frames: NDArray[np.uint8]) -> Iterator[FrameBatch]:
        """Yield the source's part of the file's next frames."""
        if not self._is_clip:
            yield FrameBatch(self._spec.name, frames)
            return
        begin, self._passed = self._passed, self._passed + len(frames)
        if begin <= self._shown and len(frames):
            at = min(self._shown - begin, len(frames) - 1)
            # A view up to that sample: all clips share the latest chunk until then.
            self._spare = frames[at : at + 1] if begin + at < self._shown else frames[at : at + 1].copy()
        low = max(0, self._first - begin)
        high = len(frames) if self._stop is None else min(len(frames), self._stop - begin)
        if low >= high:
            return
        part = frames[low:high]
        self.frame_count += len(part)
        joined = part if self._rest is None else np.concatenate([self._rest, part])
        whole = len(joined) - len(joined) % self._spec.frames_per_clip
        # Copied: a view would keep the whole chunk in memory.
        self._rest = joined[whole:].copy() if whole < len(joined) else None
        if whole:
            yield FrameBatch(self._spec.name, joined[:whole])

    @property
    def first_seconds(self) -> float:
        """The time in the file at which the source's first row begins."""
        return self._first / self.rate

    def finish(self, *, begins_in_picture: bool) -> Iterator[FrameBatch]:
        """Yield the last, incomplete clip of frames; if there was no frame at all, the one shown when it begins."""
        if self.frame_count == 0 and self._spare is not None and begins_in_picture:
            self._rest, self.frame_count = self._spare, 1
            self._first = min(self._shown, self._passed - 1)
        if self._rest is not None:
            yield FrameBatch(self._spec.name, self._rest)
            self._rest = None

    def damaged_rows(self, samples: Ranges | None) -> Ranges | None:
        """Return the ranges of the source's rows that contain any of these samples of the file."""
        return rows_of_samples(samples, self._first, self._first + self.frame_count, self._spec.frames_per_clip)
