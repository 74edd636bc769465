"""Decodes videos ahead of the networks, in threads, into one bounded queue."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reeldex.errors import InfrastructureError, UsageError
from reeldex.extractors.decode import decode
from reeldex.extractors.decoding_process import DecodeStoppedError
from reeldex.extractors.errors import MACHINE_ERRNOS, ExtractionError, FailureReason, FfmpegNotFoundError
from reeldex.extractors.frames import DecodeSummary, ExtractionFailure, FrameBatch, VideoSource
from reeldex.extractors.hwaccel import HardwareDecoders, HardwareDecodingError
from reeldex.extractors.input_descriptions import TOGETHER, Description, describe_together
from reeldex.extractors.options import EngineOptions
from reeldex.extractors.source_files import LocalFiles, ReadyFile, SourceFiles
from reeldex.extractors.spans import cut, sharing_a_decoding
from reeldex.extractors.work_times import WorkTimes

if TYPE_CHECKING:
    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

_QUEUE_POLL_SECONDS = 0.2
_SMALL_BYTES = 8 << 20


@dataclass(frozen=True)
class DecodingRestarted:
    """What arrived of a video is invalid: it is decoded again from its start, under another number."""


@dataclass(frozen=True)
class Message:
    """A decoder's message about video number `video`, modulo the number of videos."""

    video: int
    content: FrameBatch | DecodeSummary | ExtractionFailure | DecodingRestarted | BaseException


class Decoders:
    """`count` threads that decode videos into one bounded queue."""

    def __init__(  # noqa: PLR0913 - all but three by keyword
        self,
        sources: list[VideoSource],
        specs: Sequence[ExtractorSpec],
        options: EngineOptions,
        *,
        count: int,
        times: WorkTimes,
        files: SourceFiles | None = None,
        hardware: HardwareDecoders | None = None,
    ) -> None:
        self._video_count = len(sources)
        self._hardware = hardware
        self._times = times
        self._files = files or LocalFiles()
        self._groups = sharing_a_decoding(sources)
        self._left = len(self._groups)
        self._specs = specs
        self._options = options
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._messages: queue.Queue[Message | None] = queue.Queue(maxsize=2 * count)
        self._threads = [
            threading.Thread(target=self._work, name=f"decoder-{index}", daemon=True)
            for index in range(min(count, max(1, len(self._groups))))
        ]
        self._running = len(self._threads)

    def __enter__(self) -> Decoders:
        self._files.start([_path(group) for group in self._groups])
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._files.close()
        for thread in self._threads:
            thread.join()

    @property
    def have_nothing_ready(self) -> bool:
        """Whether the queue is empty."""
        return self._messages.empty()

    @property
    def queue_depth(self) -> int:
        """The number of messages in the queue, about."""
        return self._messages.qsize()

    @property
    def running(self) -> bool:
        """Whether there will be another message, if only that a decoder has ended."""
        return self._running > 0

    def next_message(self) -> Message | None:
        """Wait for the next message of any decoder; None says that one of them has ended."""
        message = self._messages.get()
        self._running -= message is None
        return message

    def _work(self) -> None:
        try:
            while files := self._next_files():
                described = self._described(files)
                for file in files:
                    try:
                        if self._stop.is_set():
                            return
                        with self._times.with_file():
                            self._decode(self._groups[file.number], file, described.get(file.path))
                    finally:
                        self._files.release(file.number)
        finally:
            self._put(None)  # or the engine would wait forever

    def _next_files(self) -> list[ReadyFile]:
        """Take the next file; if it is small, also small ones that are ready after it, up to a share of the rest."""
        with self._times.without_file():
            first = self._files.next_ready()
        files = [] if first is None else [first]
        with self._lock:
            # What is left with the first: no decoder takes so many that the others have none.
            most = min(TOGETHER, self._left // (2 * len(self._threads)))
            while files and _is_small(files[-1].path) and len(files) < most:
                another = self._files.another_ready(_is_small)
                if another is None:
                    break
                files.append(another)
            self._left -= len(files)
        return files

    def _described(self, files: Sequence[ReadyFile]) -> Mapping[str, Description]:
        """Return the descriptions of several files, of which any may be missing."""
        # What does not concern a single file occurs again when each is decoded, and is reported then.
        with contextlib.suppress(OSError, MemoryError, FfmpegNotFoundError), self._times.decoding_work():
            return describe_together([file.path for file in files if not file.error], self._options.limits)
        return {}

    def _decode(self, group: Mapping[int, VideoSource], file: ReadyFile, description: Description | None) -> None:
        """Decode a file once, for all sources in it, by their numbers; once more if the hardware decoder fails."""
        if file.error is not None:
            self._end(group, file.error)
            return
        try:
            self._decode_by(self._hardware, group, file.path, description)
        except HardwareDecodingError as error:
            log.info("%s: decoding it again in software: %s", _path(group), error)
            for number in group:
                self._put(Message(number, DecodingRestarted()))
            # New numbers: rows of the first decoding may still be computed.
            again = {number + self._video_count: source for number, source in group.items()}
            self._decode_by(None, again, file.path, description, software_reason=str(error))

    def _decode_by(
        self,
        hardware: HardwareDecoders | None,
        group: Mapping[int, VideoSource],
        path: str,
        description: Description | None,
        *,
        software_reason: str = "",
    ) -> None:
        numbers, sources = list(group), list(group.values())
        try:
            options = self._options
            decoded = decode(
                replace(sources[0], path=path),
                self._specs,
                options.limits,
                self._stop,
                options.chunk_bytes,
                options=options.decode,
                hardware=hardware,
                software_reason=software_reason,
                description=description,
            )
            with contextlib.closing(decoded) as items:
                for at, item in self._times.decoding(cut(items, sources, self._specs)):
                    if not self._put(Message(numbers[at], item)):
                        return
        except DecodeStoppedError:
            return  # the engine has stopped
        except HardwareDecodingError:
            raise
        except Exception as error:  # noqa: BLE001 - classified there
            self._end(group, error)

    def _end(self, group: Mapping[int, VideoSource], error: Exception) -> None:
        """End the sources of a file by an error: as failed videos, or the whole run."""
        if isinstance(error, ExtractionError):
            self._fail(group, error.reason, str(error))
        elif affects_all_videos(error):
            self._put(Message(next(iter(group)), error))
        else:
            log.error("Bug in reeldex while decoding %r", next(iter(group.values())).path, exc_info=error)
            message = f"Bug in reeldex: {type(error).__name__}: {error}. Please report it with the log."
            self._fail(group, FailureReason.INTERNAL_ERROR, message)

    def _fail(self, group: Mapping[int, VideoSource], reason: FailureReason, message: str) -> None:
        for number, source in group.items():
            self._put(Message(number, ExtractionFailure(source, reason, message)))

    def _put(self, message: Message | None) -> bool:
        """Wait for space in the queue; return False once the engine has stopped."""
        while not self._stop.is_set():
            try:
                self._messages.put(message, timeout=_QUEUE_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def _path(group: Mapping[int, VideoSource]) -> str:
    return next(iter(group.values())).path


def _is_small(path: str) -> bool:
    """Whether starting a process is a large part of the decoding of a file, as far as its size tells."""
    try:
        return os.stat(path).st_size <= _SMALL_BYTES  # noqa: PTH116 - paths may hold bytes that are not UTF-8
    except (OSError, ValueError):
        return True  # it fails soon


def affects_all_videos(error: BaseException) -> bool:
    """Whether an error is due to the machine, or to what is installed and configured there, not to the current video.

    A narrower rule than that for retries: most errors of the operating system concern the video's file.
    """
    if isinstance(error, OSError):
        return error.errno in MACHINE_ERRNOS or isinstance(error, PermissionError)
    return isinstance(error, (MemoryError, FfmpegNotFoundError, InfrastructureError, UsageError))
