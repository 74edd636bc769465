"""One ffmpeg process decodes a video once and feeds each extractor through a separate pipe.

Frames stream in bounded chunks: memory depends neither on a video's length nor on which extractor
reads faster, because one selector drains all pipes as data arrives.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reeldex.extractors.complaints import Complaints
from reeldex.extractors.damage import Ranges, rows_of_samples
from reeldex.extractors.decoding_process import (
    DecodingTask,
    Reader,
    drain,
    start,
)
from reeldex.extractors.errors import DecodeError, FailureReason
from reeldex.extractors.ffmpeg_process import (
    require_memory,
)
from reeldex.extractors.frame_stream import FrameStream, GapError, MissingPicturesError, TimelineReader
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoMetadata, VideoSource
from reeldex.extractors.hwaccel import Claim, HardwareDecoders, HardwareDecodingError
from reeldex.extractors.input_descriptions import Description
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.options import DecodeLimits, DecodeOptions, EngineOptions
from reeldex.extractors.pictures import damage_note, picture_notes, require_size
from reeldex.extractors.probe import PROBE_TIMEOUT_SECONDS, probe
from reeldex.extractors.timeline import Timeline, TimelineReport
from reeldex.extractors.truncation import is_truncated

if TYPE_CHECKING:
    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)


def decode(  # noqa: PLR0913 - all but five by keyword
    source: VideoSource,
    specs: Sequence[ExtractorSpec],
    limits: DecodeLimits,
    stop: threading.Event | None = None,
    chunk_bytes: int = EngineOptions().chunk_bytes,
    *,
    options: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
    hardware: HardwareDecoders | None = None,
    software_reason: str = "",
    description: Description | None = None,
) -> Generator[FrameBatch | DecodeSummary, None, None]:
    """Yield the frames of a video for each extractor as they are decoded, and a DecodeSummary last.

    Each FrameBatch except an extractor's last contains whole clips. Closing the iterator early ends ffmpeg.
    If ffmpeg reported errors, it decodes the video once more by one thread, which tells the pictures that they concern;
    the frames are those of the first decoding, as in the published extractor. Several threads may decode damaged
    pictures differently from run to run.
    `hardware` decodes the video if it can; `software_reason` is the reason if it was tried before. Then, or if it
    reports errors, HardwareDecodingError is raised, and all frames are invalid. `description` is that of the file, if
    it is known.
    Raises ProbeError or DecodeError; frames yielded before a DecodeError are invalid. Raises DecodeStoppedError soon
    after another thread has set `stop`, even while ffmpeg writes nothing.
    """
    metadata = probe(source.path, min(limits.timeout_seconds, PROBE_TIMEOUT_SECONDS), limits, options, description)
    for spec in specs:
        require_size(source.path, spec, metadata, limits, square_pixels=options.square_pixels)
    task = DecodingTask(source.path, metadata, specs, limits, options, stop, chunk_bytes)
    claiming = (
        contextlib.nullcontext(Claim(None, software_reason)) if hardware is None else hardware.claim(metadata, stop)
    )
    with claiming as claim:
        if claim.device is not None:
            yield (yield from _decode_by_hardware(replace(task, hardware=claim.device))).summary
            return
    decoded = yield from _decode_once(task, traced=False)
    summary = _with_damage(task, decoded) if decoded.summary.error_count else decoded.summary
    if claim.software_reason:
        sentence = f"The CPU decoded the video: {claim.software_reason}."
        summary = replace(summary, notes={**summary.notes, NoteKind.SOFTWARE_DECODING: sentence})
    yield summary


@dataclass(frozen=True)
class _Decoded:
    """A decoding: its summary, frames by extractor, and the ranges of these that errors concern (None if unknown)."""

    summary: DecodeSummary
    frame_counts: Mapping[str, int]
    damaged_samples: Mapping[str, Ranges | None]


def _decode_by_hardware(task: DecodingTask) -> Generator[FrameBatch, None, _Decoded]:
    """Decode a video that software is expected to decode with the same result. Raises HardwareDecodingError."""
    try:
        decoded = yield from _decode_once(task, traced=False)
    except DecodeError as error:
        # Also one about memory or time: software says whether that is due to the file.
        raise HardwareDecodingError(f"the hardware decoder failed: {error.what_happened.rstrip('.')}") from error
    if decoded.summary.error_count:
        raise HardwareDecodingError(f"the hardware decoder reported: {decoded.summary.first_error.rstrip('.')}")
    return decoded


def _with_damage(task: DecodingTask, decoded: _Decoded) -> DecodeSummary:
    """Return the summary with the rows that errors concern, which a second decoding finds."""
    samples: dict[str, Ranges | None] = dict.fromkeys(decoded.frame_counts)
    # The video has its frames: if this decoding fails, or reports nothing, its damaged rows are unknown.
    why = "a second decoding reports no error"
    try:
        traced = _without_frames(_decode_once(task, traced=True))
        if traced.summary.error_count:
            samples.update(traced.damaged_samples)
            why = "its errors cannot be attributed to pictures"
    except DecodeError as error:
        why = f"a second decoding failed: {error.what_happened.rstrip('.')}"
    if None in samples.values():
        log.info("%s: which rows are damaged is not known: %s.", task.path, why)
    rows = {
        spec.name: rows_of_samples(samples[spec.name], 0, decoded.frame_counts[spec.name], spec.frames_per_clip)
        for spec in task.specs
    }
    notes = {**decoded.summary.notes, **damage_note(rows)}
    return replace(decoded.summary, damaged_samples=samples, damaged_rows=rows, notes=notes)


def _without_frames(decoding: Generator[FrameBatch, None, _Decoded]) -> _Decoded:
    """Run a decoding to its end, and drop its frames."""
    while True:
        try:
            next(decoding)
        except StopIteration as end:
            found: _Decoded = end.value
            return found


def _decode_once(task: DecodingTask, *, traced: bool) -> Generator[FrameBatch, None, _Decoded]:
    """Decode a video; with `traced` by one thread, to find the frames that errors concern."""
    metadata, limits = task.metadata, task.limits
    streams = [FrameStream(spec, task.chunk_bytes, limits.max_gap_seconds, traced=traced) for spec in task.specs]
    process, pipes = start(task, traced=traced)
    errors = Complaints(metadata.container, metadata.codec, traced=traced)
    timeline = Timeline(metadata.end_seconds, limits.max_gap_seconds)
    try:
        assert process.stderr is not None  # noqa: S101 - started with a pipe
        readers: dict[int, Reader] = {process.stderr.fileno(): errors.read_from}
        readers[pipes.clock] = TimelineReader(timeline, streams).read_from
        for stream, (pictures, ticks) in zip(streams, pipes.streams, strict=True):
            readers[pictures] = stream.read_pictures
            readers[ticks] = stream.read_ticks
        yield from drain(task.path, readers, limits, task.stop)
        process.wait()
    except GapError as gap:
        raise _too_long(task.path, gap, limits) from gap
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in pipes.descriptors:
            os.close(pipe)
        if process.stderr:
            process.stderr.close()
    if process.returncode or any(stream.is_empty for stream in streams):
        require_memory(DecodeError, task.path, errors.out_of_memory, limits.ffmpeg_memory_bytes)
    _require_not_killed(task.path, process.returncode)
    said = f"; it said: {errors.first or 'nothing'}."
    try:
        for stream in streams:
            yield from stream.finish()
    except MissingPicturesError as missing:
        ended = f"ffmpeg exited with status {process.returncode} before it had written all pictures ({missing})"
        raise undecodable(task.path, ended + said) from missing
    if any(stream.frame_count == 0 for stream in streams):
        raise undecodable(task.path, f"ffmpeg decoded no picture{said}")
    finest = max(streams, key=lambda stream: stream.spec.frames_per_second)
    decoded_seconds = finest.frame_count / finest.spec.frames_per_second
    # Without errors, nothing is damaged; with some, only a traced decoding knows what they concern.
    nothing: Ranges | None = None if errors.count else ()
    summary = DecodeSummary(
        metadata=metadata,
        decoded_seconds=decoded_seconds,
        truncated=is_truncated(task.path, metadata, max(decoded_seconds, timeline.report.latest_seconds), errors.count),
        error_count=errors.count,
        first_error=errors.first,
        damaged_samples=dict.fromkeys((spec.name for spec in task.specs), nothing),
        damaged_rows=dict.fromkeys((spec.name for spec in task.specs), nothing),
        notes={**_notes(metadata, timeline.report), **picture_notes(metadata, task.options)},
    )
    return _Decoded(
        summary,
        {stream.spec.name: stream.frame_count for stream in streams},
        {stream.spec.name: stream.damaged_samples(errors.tracker) for stream in streams},
    )


def _notes(metadata: VideoMetadata, times: TimelineReport) -> dict[NoteKind, str]:
    found = {
        NoteKind.VIDEO_TRACK: metadata.track_choice,
        NoteKind.TIMESTAMPS_REPAIRED: times.repaired(),
        NoteKind.LONG_GAPS: times.long_gaps(),
    }
    return {kind: sentence for kind, sentence in found.items() if sentence}


def _require_not_killed(path: str, exit_status: int) -> None:
    if exit_status < 0:
        raise DecodeError(
            path,
            FailureReason.DECODE_ERROR,
            f"ffmpeg was killed by signal {-exit_status} while it decoded the file.",
            "If the machine ran out of memory, use fewer decoders. If the file is large, raise "
            "compute.limits.ffmpeg_memory_bytes. Otherwise it may be malformed.",
        )


def undecodable(path: str, what: str) -> DecodeError:
    """Return the error for a file that ffmpeg could not decode: `what` is a sentence."""
    return DecodeError(
        path,
        FailureReason.DECODE_ERROR,
        what,
        "The file is damaged or in a format this ffmpeg cannot decode: replace or convert it.",
    )


def _too_long(path: str, gap: GapError, limits: DecodeLimits) -> DecodeError:
    return DecodeError(
        path,
        FailureReason.TOO_LARGE,
        f"For {gap.seconds:,.1f} seconds from {gap.start_seconds:,.1f} s on the file has no new picture; a picture may "
        f"stand for {limits.max_gap_seconds:g} seconds at most.",
        "If its timestamps are correct, raise compute.limits.max_gap_seconds; otherwise rewrite the file with correct "
        "ones.",
    )
