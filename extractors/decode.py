"""One ffmpeg process decodes a video once and feeds every extractor through a pipe of its own.

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
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ffmpeg as ffmpeg_python

from extractors import ffmpeg
from extractors.errors import DecodeError, FailureReason
from extractors.frame_stream import FrameStream
from extractors.frames import DecodeSummary, FrameBatch, VideoMetadata, VideoSource
from extractors.probe import PROBE_TIMEOUT_SECONDS, probe

if TYPE_CHECKING:
    from extractors.spec import ExtractorSpec

# A pipe this large holds a few frames, so that ffmpeg seldom waits. Linux grants it to ordinary users.
_PIPE_BYTES = 1 << 20
_STDERR_KEPT_BYTES = 64 * 1024
_STOP_POLL_SECONDS = 0.5


class DecodeStoppedError(Exception):
    """Another thread asked for the decoding to end. Says nothing about the video, whose path it carries."""


@dataclass(frozen=True)
class DecodeLimits:
    """What one video may cost.

    - `timeout_seconds`: time spent waiting for ffmpeg; waiting for the network that consumes the frames is not counted.
    - `max_frame_pixels`: width x height of a frame, as stored and as scaled.
    - `chunk_bytes`: frames handed on at a time, uint8, for one extractor.
    """

    timeout_seconds: float = 1800.0
    max_frame_pixels: int = 8192 * 8192
    chunk_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0 or self.max_frame_pixels < 1 or self.chunk_bytes < 1:
            raise ValueError(f"limits must be positive: {self}")


def sampling_filter(stream: ffmpeg_python.nodes.FilterableStream, spec: ExtractorSpec) -> object:
    """Return the filters that turn a decoded stream into what `spec` samples, its first frame prepended.

    The prepended frame is the first one decoded, sampled or not: a video too short for a sample at
    `frames_per_second` still has it. The second `fps` repeats the first sample of a video that starts late from
    the start of the file on, as the published extractor's does, so that row i begins at i * seconds_per_row.
    """
    side = spec.short_side_pixels

    def scaled(branch: ffmpeg_python.nodes.FilterableStream) -> ffmpeg_python.nodes.FilterableStream:
        # Sizes are reckoned by ffmpeg from the picture itself, after rotation; same rule as spec.scaled_size.
        branch = branch.filter(
            "scale",
            w=f"if(gte(ih,iw),{side},trunc(iw*{side}/ih))",
            h=f"if(gte(ih,iw),trunc(ih*{side}/iw),{side})",
        )
        if spec.centre_crop:
            branch = branch.filter("crop", side, side, f"trunc((iw-{side})/2)", f"trunc((ih-{side})/2)")
        return branch

    halves = stream.filter_multi_output("split", 2)
    opening = scaled(halves[0].filter("trim", end_frame=1))
    rate = spec.frames_per_second
    sampled = scaled(halves[1].filter("fps", fps=rate).filter("fps", fps=rate, start_time=0))
    # Joining two branches leaves time stamps that repeat, of which the muxer would complain.
    return ffmpeg_python.concat(opening, sampled, v=1, a=0).filter("setpts", "N")


def decode_arguments(path: str, specs: Sequence[ExtractorSpec], pipes: Sequence[int]) -> list[str]:
    """Return ffmpeg's arguments to decode `path` once into one pipe (a file descriptor) an extractor."""
    # A graph set up anew when the picture's size changes midway would start the clock at 0 again; kept, its
    # scale filter goes on to the size of the first picture. V: the first moving picture, not a cover image.
    source = ffmpeg.local_input(reinit_filter=0)["V:0"]
    branches = source.filter_multi_output("split", len(specs))
    outputs = [
        ffmpeg_python.output(
            sampling_filter(branches[index], spec),
            f"pipe:{pipe}",
            format="image2pipe",
            vcodec="ppm",
            pix_fmt="rgb24",
            **ffmpeg.passthrough_option(),
        )
        for index, (spec, pipe) in enumerate(zip(specs, pipes, strict=True))
    ]
    arguments = ffmpeg.with_path(ffmpeg_python.merge_outputs(*outputs).get_args(), path)
    return ["-hide_banner", "-nostdin", "-loglevel", "error", *arguments]


def decode(
    source: VideoSource, specs: Sequence[ExtractorSpec], limits: DecodeLimits, stop: threading.Event | None = None
) -> Generator[FrameBatch | DecodeSummary, None, None]:
    """Yield the frames of a video for each extractor as they come, and a DecodeSummary last.

    Each FrameBatch but an extractor's last holds whole clips. Closing the iterator early ends ffmpeg.
    Raises ProbeError or DecodeError; frames yielded before a DecodeError are then void. Raises DecodeStoppedError soon
    after another thread has set `stop`, even while ffmpeg keeps silent.
    """
    metadata = probe(source.path, min(limits.timeout_seconds, PROBE_TIMEOUT_SECONDS))
    for spec in specs:
        _require_size(source.path, spec, metadata, limits)
    streams = [FrameStream(spec, limits.chunk_bytes) for spec in specs]
    process, readers = _start(source.path, specs)
    errors = _StderrTail()
    try:
        assert process.stderr is not None  # noqa: S101 - started with a pipe
        pipes: dict[int, FrameStream | _StderrTail] = {process.stderr.fileno(): errors}
        pipes.update(zip(readers, streams, strict=True))
        yield from _drain(source.path, pipes, limits, stop)
        process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for reader in readers:
            os.close(reader)
        if process.stderr:
            process.stderr.close()
    if process.returncode < 0:
        raise DecodeError(
            source.path,
            FailureReason.DECODE_ERROR,
            f"ffmpeg was killed by signal {-process.returncode} while it decoded the file.",
            "If the machine ran out of memory, use fewer decoders; else the file may be malformed.",
        )
    if any(stream.frame_count == 0 for stream in streams):
        raise DecodeError(
            source.path,
            FailureReason.DECODE_ERROR,
            f"ffmpeg decoded no picture; it said: {errors.first or 'nothing'}.",
            "The file is damaged or in a form this ffmpeg cannot decode: fetch it again or convert it.",
        )
    finest = max(streams, key=lambda stream: stream.spec.frames_per_second)
    decoded_seconds = finest.frame_count / finest.spec.frames_per_second
    yield DecodeSummary(
        metadata=metadata,
        decoded_seconds=decoded_seconds,
        truncated=is_truncated(decoded_seconds, metadata.duration_seconds),
        error_count=errors.count,
        first_error=errors.first,
    )


def is_truncated(decoded_seconds: float, container_seconds: float | None) -> bool:
    """Whether decoding ended well before the container's duration: by over a second and over 2 %.

    Sampling rounds to half a sample (half a second at 1 frame a second), and sound often outlasts picture by
    some tenths of a second. A container without a duration promises nothing.
    """
    if container_seconds is None:
        return False
    return container_seconds - decoded_seconds > max(1.0, 0.02 * container_seconds)


def _require_size(path: str, spec: ExtractorSpec, metadata: VideoMetadata, limits: DecodeLimits) -> None:
    scaled_height, scaled_width = spec.scaled_size(*metadata.display_size)
    largest = max(metadata.width * metadata.height, scaled_width * scaled_height)
    if largest > limits.max_frame_pixels or min(scaled_height, scaled_width) < 1:
        raise DecodeError(
            path,
            FailureReason.TOO_LARGE,
            f"A frame of {metadata.width} x {metadata.height} pixels ({scaled_width} x {scaled_height} when scaled "
            f"for {spec.name}) exceeds the limit of {limits.max_frame_pixels} pixels.",
            "Scale the video down, or raise limits.max_frame_pixels.",
        )


def _start(path: str, specs: Sequence[ExtractorSpec]) -> tuple[subprocess.Popen[bytes], list[int]]:
    pipes = [os.pipe() for _ in specs]
    readers, writers = [pipe[0] for pipe in pipes], [pipe[1] for pipe in pipes]
    try:
        for writer in writers:
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                # Refused when the user's share of pipe memory is used up; a small pipe works too, only slower.
                with contextlib.suppress(PermissionError):
                    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        process = subprocess.Popen(
            [ffmpeg.executable(), *decode_arguments(path, specs, writers)],
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
    return process, readers


def _drain(
    path: str,
    pipes: Mapping[int, FrameStream | _StderrTail],
    limits: DecodeLimits,
    stop: threading.Event | None,
) -> Iterator[FrameBatch]:
    """Read all pipes as data arrives until each has ended; yield the chunks of frames."""
    waited_seconds = 0.0
    with selectors.DefaultSelector() as selector:
        for descriptor, reader in pipes.items():
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
                    f"Waiting for ffmpeg to decode the file took over {limits.timeout_seconds:g} seconds.",
                    "Raise limits.timeout_seconds, or check the file and its disk.",
                )
            for key, _ in ready:
                if isinstance(key.data, _StderrTail):
                    if not key.data.read_from(key.fd):
                        selector.unregister(key.fd)
                    continue
                batch = key.data.read_from(key.fd)
                if key.data.ended:
                    selector.unregister(key.fd)
                if batch is not None:
                    yield batch


class _StderrTail:
    """Counts the decoder's complaints and keeps the first; ffmpeg may print any number of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""
        self._partial = b""

    def read_from(self, descriptor: int) -> bool:
        """Read what is there; return False at the end."""
        data = os.read(descriptor, _STDERR_KEPT_BYTES)
        *lines, self._partial = (self._partial + data).split(b"\n")
        if not data and self._partial:
            lines, self._partial = [self._partial], b""
        self._partial = self._partial[-_STDERR_KEPT_BYTES:]
        for line in filter(None, (line.strip() for line in lines)):
            self.count += 1
            if not self.first:
                self.first = line.decode("utf-8", "replace")
        return bool(data)
