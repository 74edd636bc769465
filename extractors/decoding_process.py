"""Runs ffmpeg to decode one video into pipes, and reads these as data arrives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ffmpeg as ffmpeg_python

from reeldex.extractors import complaints, ffmpeg, ffmpeg_process
from reeldex.extractors.errors import DecodeError, FailureReason
from reeldex.extractors.ffmpeg_process import decoder_threads
from reeldex.extractors.frames import FrameBatch, VideoMetadata
from reeldex.extractors.options import DecodeLimits, DecodeOptions
from reeldex.extractors.pictures import picture_change
from reeldex.extractors.sampling import WITHOUT_TITLES, PictureChange, Pipes, sampled_outputs

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
Reader = Callable[[int], Generator[FrameBatch, None, bool]]


class DecodeStoppedError(Exception):
    """Another thread stopped the decoding. Not an error of the video, whose path it carries."""


@dataclass(frozen=True)
class DecodingTask:
    """What `start` needs to decode a video; `hardware` is the number of the CUDA device that decodes it."""

    path: str
    metadata: VideoMetadata
    specs: Sequence[ExtractorSpec]
    limits: DecodeLimits
    options: DecodeOptions
    stop: threading.Event | None
    chunk_bytes: int
    hardware: int | None = None

    @property
    def threads(self) -> int | None:
        """Threads that decode the video, None for ffmpeg's choice."""
        if self.hardware is not None:
            return 1
        most = decoder_threads(self.metadata.width, self.metadata.height, self.limits.ffmpeg_memory_bytes)
        return most if most < min(os.cpu_count() or 1, _MOST_THREADS) else None


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
    hardware: int | None = None,
) -> list[str]:
    """Return ffmpeg's arguments to decode a track of `path` once, by `threads` threads (None: ffmpeg's choice).

    `hardware` is the number of the CUDA device that decodes it; None: the CPU does.
    """
    # A graph that is reconfigured when the picture size changes would restart the clock at 0; kept, its
    # scale filter continues with the size of the first picture.
    options: dict[str, object] = {"reinit_filter": 0, **(ffmpeg.far_probe_options() if metadata.probed_far else {})}
    if threads is not None:
        options["threads"] = threads
    if hardware is not None:
        options |= {"hwaccel": "cuda", "hwaccel_device": hardware}
    source = ffmpeg.local_input(max_frame_pixels, **options)
    outputs = sampled_outputs(source[str(metadata.stream)], specs, pipes, change)
    if metadata.begins_late:
        # In MPEG-TS, time begins with the first of the streams that are used, which is the sound.
        outputs.append(ffmpeg_python.output(source["a?"], "-", format="null", codec="copy", **WITHOUT_TITLES))
    arguments = ffmpeg.with_path(ffmpeg_python.merge_outputs(*outputs).get_args(), path)
    return ["-hide_banner", "-nostdin", *messages, *arguments]


def start(task: DecodingTask, *, traced: bool) -> tuple[subprocess.Popen[bytes], Pipes]:
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
            hardware=task.hardware,
        )
        process = subprocess.Popen(
            [*ffmpeg_process.command(task.limits.ffmpeg_memory_bytes, address_space=task.hardware is None), *arguments],
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


def drain(
    path: str, readers: Mapping[int, Reader], limits: DecodeLimits, stop: threading.Event | None
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
