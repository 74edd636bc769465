"""One ffmpeg process decodes a video once and feeds each extractor through a separate pipe.

Frames stream in bounded chunks: memory depends neither on a video's length nor on which extractor
reads faster, because one selector drains all pipes as data arrives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import ffmpeg as ffmpeg_python

from reeldex.extractors import complaints, ffmpeg, ffmpeg_process
from reeldex.extractors.complaints import Complaints
from reeldex.extractors.damage import Ranges, rows_of_samples
from reeldex.extractors.errors import DecodeError, FailureReason
from reeldex.extractors.ffmpeg_process import (
    decoder_threads,
    require_memory,
)
from reeldex.extractors.frame_stream import FrameStream, GapError, MissingPicturesError, TimelineReader
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoMetadata, VideoSource
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.options import DecodeLimits, DecodeOptions, EngineOptions
from reeldex.extractors.pictures import damage_note, picture_change, picture_notes, require_size
from reeldex.extractors.probe import PROBE_TIMEOUT_SECONDS, probe
from reeldex.extractors.sampling import PictureChange, Pipes, sampled_outputs
from reeldex.extractors.timeline import Timeline, TimelineReport
from reeldex.extractors.truncation import is_truncated

if TYPE_CHECKING:
    from reeldex.extractors.spec import ExtractorSpec

# A pipe of this size holds a few frames, so that ffmpeg rarely blocks. Linux allows it for unprivileged users.
_PIPE_BYTES = 1 << 20
# ffmpeg writes each time by itself. Reading many at once takes a fraction of the CPU time, and the pipes hold more than
# is decoded meanwhile.
_GATHER_SECONDS = 0.004
_STOP_POLL_SECONDS = 0.5
_MOST_THREADS = 16  # default maximum of ffmpeg

# Reads available bytes from a file descriptor, yields the resulting chunks of frames, returns False at the end.
_Reader = Callable[[int], Generator[FrameBatch, None, bool]]


class DecodeStoppedError(Exception):
    """Another thread stopped the decoding. Not an error of the video, whose path it carries."""


def decode_arguments(  # noqa: PLR0913 - all but four by keyword
    path: str,
    metadata: VideoMetadata,
    specs: Sequence[ExtractorSpec],
    pipes: Pipes,
    *,
    max_frame_pixels: int,
    threads: int | None = None,
    change: PictureChange = PictureChange(),  # noqa: B008 - frozen
    messages: Sequence[str] = complaints.ERRORS_ONLY,
) -> list[str]:
    """Return ffmpeg's arguments to decode a track of `path` once, by `threads` threads (None: ffmpeg's choice)."""
    # A graph that is reconfigured when the picture size changes would restart the clock at 0; kept, its
    # scale filter continues with the size of the first picture.
    options = {"reinit_filter": 0, **(ffmpeg.far_probe_options() if metadata.probed_far else {})}
    if threads is not None:
        options["threads"] = threads
    source = ffmpeg.local_input(max_frame_pixels, **options)
    outputs = sampled_outputs(source[str(metadata.stream)], specs, pipes, change)
    if metadata.begins_late:
        # In MPEG-TS, time begins with the first of the streams that are used, which is the sound.
        outputs.append(ffmpeg_python.output(source["a?"], "-", format="null", codec="copy"))
    arguments = ffmpeg.with_path(ffmpeg_python.merge_outputs(*outputs).get_args(), path)
    return ["-hide_banner", "-nostdin", *messages, *arguments]


def decode(  # noqa: PLR0913 - all but four by keyword
    source: VideoSource,
    specs: Sequence[ExtractorSpec],
    limits: DecodeLimits,
    stop: threading.Event | None = None,
    chunk_bytes: int = EngineOptions().chunk_bytes,
    *,
    options: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
) -> Generator[FrameBatch | DecodeSummary, None, None]:
    """Yield the frames of a video for each extractor as they are decoded, and a DecodeSummary last.

    Each FrameBatch except an extractor's last contains whole clips. Closing the iterator early ends ffmpeg.
    If ffmpeg reported errors, it decodes the video once more by one thread, which tells the pictures that they concern;
    the frames are those of the first decoding, as in the published extractor. Several threads may decode damaged
    pictures differently from run to run.
    Raises ProbeError or DecodeError; frames yielded before a DecodeError are invalid. Raises DecodeStoppedError soon
    after another thread has set `stop`, even while ffmpeg writes nothing.
    """
    metadata = probe(source.path, min(limits.timeout_seconds, PROBE_TIMEOUT_SECONDS), limits, options)
    for spec in specs:
        require_size(source.path, spec, metadata, limits, square_pixels=options.square_pixels)
    task = _Task(source.path, metadata, specs, limits, options, stop, chunk_bytes)
    decoded = yield from _decode_once(task, traced=False)
    yield _with_damage(task, decoded) if decoded.summary.error_count else decoded.summary


@dataclass(frozen=True)
class _Task:
    path: str
    metadata: VideoMetadata
    specs: Sequence[ExtractorSpec]
    limits: DecodeLimits
    options: DecodeOptions
    stop: threading.Event | None
    chunk_bytes: int

    @property
    def threads(self) -> int | None:
        """Threads that decode the video, None for ffmpeg's choice."""
        most = decoder_threads(self.metadata.width, self.metadata.height, self.limits.ffmpeg_memory_bytes)
        return most if most < min(os.cpu_count() or 1, _MOST_THREADS) else None


@dataclass(frozen=True)
class _Decoded:
    """A decoding: its summary, frames by extractor, and the ranges of these that errors concern (None if unknown)."""

    summary: DecodeSummary
    frame_counts: Mapping[str, int]
    damaged_samples: Mapping[str, Ranges | None]


def _with_damage(task: _Task, decoded: _Decoded) -> DecodeSummary:
    """Return the summary with the rows that errors concern, which a second decoding finds."""
    samples: dict[str, Ranges | None] = dict.fromkeys(decoded.frame_counts)
    # The video has its frames: if this decoding fails, or reports nothing, its damaged rows are unknown.
    with contextlib.suppress(DecodeError):
        traced = _without_frames(_decode_once(task, traced=True))
        if traced.summary.error_count:
            samples.update(traced.damaged_samples)
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


def _decode_once(task: _Task, *, traced: bool) -> Generator[FrameBatch, None, _Decoded]:
    """Decode a video; with `traced` by one thread, to find the frames that errors concern."""
    metadata, limits = task.metadata, task.limits
    streams = [FrameStream(spec, task.chunk_bytes, limits.max_gap_seconds, traced=traced) for spec in task.specs]
    process, pipes = _start(task, traced=traced)
    errors = Complaints(metadata.container, metadata.codec, traced=traced)
    timeline = Timeline(metadata.end_seconds, limits.max_gap_seconds)
    try:
        assert process.stderr is not None  # noqa: S101 - started with a pipe
        readers: dict[int, _Reader] = {process.stderr.fileno(): errors.read_from}
        readers[pipes.clock] = TimelineReader(timeline, streams).read_from
        for stream, (pictures, ticks) in zip(streams, pipes.streams, strict=True):
            readers[pictures] = stream.read_pictures
            readers[ticks] = stream.read_ticks
        yield from _drain(task.path, readers, limits, task.stop)
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
        raise _undecodable(task.path, ended + said) from missing
    if any(stream.frame_count == 0 for stream in streams):
        raise _undecodable(task.path, f"ffmpeg decoded no picture{said}")
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


def _undecodable(path: str, what: str) -> DecodeError:
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


def _start(task: _Task, *, traced: bool) -> tuple[subprocess.Popen[bytes], Pipes]:
    """Start ffmpeg and return it with the read ends of its pipes."""
    ends = [os.pipe() for _ in range(2 * len(task.specs) + 1)]
    readers, writers = [end[0] for end in ends], [end[1] for end in ends]
    try:
        for writer in writers[:-1:2]:
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                # Fails when the user's pipe memory limit is reached; a small pipe also works, only slower.
                with contextlib.suppress(PermissionError):
                    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        arguments = decode_arguments(
            task.path,
            task.metadata,
            task.specs,
            Pipes.of(writers),
            max_frame_pixels=task.limits.max_frame_pixels,
            threads=1 if traced else task.threads,
            change=picture_change(task.metadata, task.options),
            messages=complaints.TRACED if traced else complaints.ERRORS_ONLY,
        )
        process = subprocess.Popen(
            [*ffmpeg_process.command(task.limits.ffmpeg_memory_bytes), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=writers,
        )
    except BaseException:
        for reader in readers:
            os.close(reader)
        raise
    finally:
        for writer in writers:
            os.close(writer)
    return process, Pipes.of(readers)


def _drain(
    path: str, readers: Mapping[int, _Reader], limits: DecodeLimits, stop: threading.Event | None
) -> Iterator[FrameBatch]:
    """Read all pipes as data arrives until all are closed; yield the chunks of frames."""
    waited_seconds = 0.0
    with selectors.DefaultSelector() as selector:
        for descriptor, reader in readers.items():
            selector.register(descriptor, selectors.EVENT_READ, reader)
        while selector.get_map():
            if stop is not None and stop.is_set():
                raise DecodeStoppedError(path)
            started = time.monotonic()
            ready = selector.select(timeout=min(_STOP_POLL_SECONDS, limits.timeout_seconds - waited_seconds))
            waited_seconds += time.monotonic() - started
            if waited_seconds >= limits.timeout_seconds:
                raise DecodeError(
                    path,
                    FailureReason.TIMEOUT,
                    f"ffmpeg did not decode the file within {limits.timeout_seconds:g} seconds of waiting.",
                    "Raise compute.limits.timeout_seconds, or check the file and its disk.",
                )
            for key, _ in ready:
                more = yield from key.data(key.fd)
                if not more:
                    selector.unregister(key.fd)
            time.sleep(_GATHER_SECONDS)
