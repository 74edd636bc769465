"""Decodes videos ahead of the networks, in threads, into one bounded queue."""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reeldex.devices import usable_cores
from reeldex.errors import InfrastructureError
from reeldex.extractors.decode import decode
from reeldex.extractors.decoding_process import DecodeStoppedError
from reeldex.extractors.errors import ExtractionError, FailureReason, FfmpegNotFoundError
from reeldex.extractors.frames import DecodeSummary, ExtractionFailure, FrameBatch, VideoSource
from reeldex.extractors.hwaccel import HardwareDecoders, HardwareDecodingError
from reeldex.extractors.input_descriptions import TOGETHER, Description, describe_together
from reeldex.extractors.options import EngineOptions
from reeldex.extractors.spans import cut, sharing_a_decoding
from reeldex.extractors.work_times import WorkTimes

if TYPE_CHECKING:
    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

_MACHINE_ERRNOS = {errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EDQUOT}
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
        hardware: HardwareDecoders | None = None,
    ) -> None:
        self._video_count = len(sources)
        self._hardware = hardware
        self._times = times
        self._groups = collections.deque(sharing_a_decoding(sources))
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
        self._working = len(self._threads)

    def __enter__(self) -> Decoders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
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

    def next_message(self) -> Message | None:
        """Wait for the next message of any decoder; return None once all have ended."""
        while self._running:
            message = self._messages.get()
            if message is not None:
                return message
            self._running -= 1
        return None

    def _work(self) -> None:
        try:
            while groups := self._next_groups():
                described = self._described(groups)
                for group in groups:
                    if self._stop.is_set():
                        return
                    self._decode(group, described.get(_path(group)))
        finally:
            with self._lock:
                self._working -= 1
            self._put(None)  # or the engine would wait forever

    def _next_groups(self) -> list[dict[int, VideoSource]]:
        """Take the sources of the next file; if it is small, also of small ones after it, up to a share of the rest."""
        with self._lock:
            most = min(TOGETHER, len(self._groups) // (2 * len(self._threads)))
            groups = [self._groups.popleft()] if self._groups else []
            while self._groups and len(groups) < most and _is_small(groups[-1]) and _is_small(self._groups[0]):
                groups.append(self._groups.popleft())
            return groups

    def _cores(self) -> int | None:
        """Return the cores for each of the files that are decoded at the same time from now on; None if it is one."""
        with self._lock:
            at_a_time = min(len(self._threads), self._working + len(self._groups))
        return max(1, usable_cores() // at_a_time) if at_a_time > 1 else None

    def _described(self, groups: Sequence[Mapping[int, VideoSource]]) -> Mapping[str, Description]:
        """Return the descriptions of several files, of which any may be missing."""
        # What does not concern a single file occurs again when each is decoded, and is reported then.
        with contextlib.suppress(OSError, MemoryError, FfmpegNotFoundError), self._times.decoding_work():
            return describe_together([_path(group) for group in groups], self._options.limits)
        return {}

    def _decode(self, group: Mapping[int, VideoSource], description: Description | None) -> None:
        """Decode a file once, for all sources in it, by their numbers; once more if the hardware decoder fails."""
        try:
            self._decode_by(self._hardware, group, description)
        except HardwareDecodingError as error:
            log.info("%s: decoding it again in software: %s", _path(group), error)
            for number in group:
                self._put(Message(number, DecodingRestarted()))
            # New numbers: rows of the first decoding may still be computed.
            again = {number + self._video_count: source for number, source in group.items()}
            self._decode_by(None, again, description, software_reason=str(error))

    def _decode_by(
        self,
        hardware: HardwareDecoders | None,
        group: Mapping[int, VideoSource],
        description: Description | None,
        software_reason: str = "",
    ) -> None:
        numbers, sources = list(group), list(group.values())
        source = sources[0]
        try:
            options = self._options
            decoded = decode(
                source,
                self._specs,
                options.limits,
                self._stop,
                options.chunk_bytes,
                options=options.decode,
                hardware=hardware,
                software_reason=software_reason,
                description=description,
                cores=self._cores(),
            )
            with contextlib.closing(decoded) as items:
                for at, item in self._times.decoding(cut(items, sources, self._specs)):
                    if not self._put(Message(numbers[at], item)):
                        return
        except DecodeStoppedError:
            return  # the engine has stopped
        except HardwareDecodingError:
            raise
        except ExtractionError as error:
            self._fail(group, error.reason, str(error))
        except Exception as error:
            if affects_all_videos(error):
                self._put(Message(numbers[0], error))
                return
            log.exception("Bug in reeldex while decoding %r", source.path)
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


def _is_small(group: Mapping[int, VideoSource]) -> bool:
    """Whether starting a process is a large part of the decoding of a file, as far as its size tells."""
    try:
        return os.stat(_path(group)).st_size <= _SMALL_BYTES  # noqa: PTH116 - paths may hold bytes that are not UTF-8
    except (OSError, ValueError):
        return True  # it fails soon


def affects_all_videos(error: BaseException) -> bool:
    """Whether an error is due to the machine, not to the current video.

    A narrower rule than that for retries: most errors of the operating system concern the video's file.
    """
    if isinstance(error, OSError):
        return error.errno in _MACHINE_ERRNOS or isinstance(error, PermissionError)
    return isinstance(error, (MemoryError, FfmpegNotFoundError, InfrastructureError))
