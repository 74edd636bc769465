"""Decides which videos a GPU's hardware decoder (NVDEC) decodes, through ffmpeg.

ffmpeg copies the decoded pictures to the host, where the same filters scale them. For most files the pictures are those
of software, bit for bit, but not for all, so that such features have a fingerprint of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reeldex.errors import DeviceError
from reeldex.extractors import ffmpeg, ffmpeg_process
from reeldex.extractors.options import Hwaccel

if TYPE_CHECKING:
    from reeldex.extractors.frames import VideoMetadata

log = logging.getLogger(__name__)

_8_BIT = frozenset({"yuv420p", "yuvj420p"})
_10_BIT = frozenset({"yuv420p10le"})
# Formats for which it was compared with software, on an H200.
_FORMATS = {"h264": _8_BIT, "hevc": _8_BIT | _10_BIT, "vp9": _8_BIT}
_LEAST_SIDE, _LARGEST_SIDE = 256, 4096
# Smaller pictures are decoded faster by the CPU: starting the hardware decoder takes as long as many of them.
_AUTO_PIXELS = 1280 * 720
# At one time and per device: an H200 was not faster with more.
_SESSIONS = 8
_CHECK_SECONDS = 60.0
_POLL_SECONDS = 0.2


class HardwareDecodingError(Exception):
    """The hardware decoder failed or reported errors: the video is decoded again in software."""


@dataclass(frozen=True)
class Claim:
    """Who decodes a video: the CUDA device of this number, or if None software, for the stated reason (if any)."""

    device: int | None = None
    software_reason: str = ""


def refusal(metadata: VideoMetadata) -> str | None:
    """Return why the hardware decoder is not used for such a video, None if it is."""
    formats = _FORMATS.get(metadata.codec)
    if formats is None:
        return f"the hardware decoder is not used for {metadata.codec}"
    if metadata.pixel_format not in formats:
        return f"the hardware decoder is not used for {metadata.codec} with pixels as {metadata.pixel_format}"
    is_odd = metadata.width % 2 or metadata.height % 2
    if is_odd or not (
        min(metadata.width, metadata.height) >= _LEAST_SIDE and max(metadata.width, metadata.height) <= _LARGEST_SIDE
    ):
        return f"the hardware decoder is not used for pictures of {metadata.width} x {metadata.height} pixels"
    return None


class HardwareDecoders:
    """The hardware decoder of a CUDA device, for some videos at a time."""

    def __init__(self, mode: Hwaccel, device: int, sessions: int = _SESSIONS) -> None:
        self._mode = mode
        self._device = device
        self._sessions = threading.BoundedSemaphore(sessions)

    @contextlib.contextmanager
    def claim(self, metadata: VideoMetadata, stop: threading.Event | None = None) -> Iterator[Claim]:
        """Decide who decodes a video. With AUTO, the CPU decodes what is small and what would have to wait."""
        reason = refusal(metadata)
        if reason is not None:
            yield Claim(software_reason=reason if self._mode is Hwaccel.CUDA else "")
        elif self._leaves(metadata) or not self._acquire(stop):
            yield Claim()
        else:
            try:
                yield Claim(self._device)
            finally:
                self._sessions.release()

    def _leaves(self, metadata: VideoMetadata) -> bool:
        return self._mode is Hwaccel.AUTO and metadata.width * metadata.height < _AUTO_PIXELS

    def _acquire(self, stop: threading.Event | None) -> bool:
        if self._mode is Hwaccel.AUTO:
            return self._sessions.acquire(blocking=False)
        while not self._sessions.acquire(timeout=_POLL_SECONDS):
            if stop is not None and stop.is_set():
                return False
        return True


def hardware_decoders(mode: Hwaccel, device: str | None) -> HardwareDecoders | None:
    """Return the hardware decoder of `device` (`cuda` or `cuda:N`), None if videos are decoded in software.

    Raises DeviceError if CUDA is required and cannot be used.
    """
    if mode is Hwaccel.NONE or (mode is Hwaccel.AUTO and device is None):
        return None
    number = int((device or "").partition(":")[2] or 0)
    reason = "the networks do not run on a CUDA device" if device is None else unusable_reason(number)
    if reason is None:
        return HardwareDecoders(mode, number)
    if mode is Hwaccel.CUDA:
        raise DeviceError(f"decode.hwaccel cuda cannot be used: {reason}. Use auto or none.")
    log.info("Videos are decoded in software: the hardware decoder cannot be used: %s.", reason)
    return None


@functools.cache
def unusable_reason(device: int) -> str | None:
    """Return why ffmpeg cannot use that CUDA device, None if it can."""
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError:
        return "libnvcuvid.so.1 is not available (in a container, add `video` to NVIDIA_DRIVER_CAPABILITIES)"
    arguments = ["-v", "error", "-init_hw_device", f"cuda:{device}", "-f", "lavfi", "-i", "nullsrc", "-frames:v", "1"]
    command = [*ffmpeg_process.command(address_space=False), "-nostdin", *arguments, "-f", "null", "-"]
    try:
        answer = subprocess.run(command, capture_output=True, check=False, timeout=_CHECK_SECONDS)
    except subprocess.TimeoutExpired:
        return f"ffmpeg does not answer within {_CHECK_SECONDS:g} s"
    if answer.returncode == 0:
        return None
    said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"{ffmpeg.executable()} says: {said[0] if said else f'exit status {answer.returncode}'}"
