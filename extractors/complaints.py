"""Reads ffmpeg's messages while it decodes: counts its errors, and finds the pictures that they concern."""

from __future__ import annotations

import os
import re
from collections.abc import Generator

from reeldex.extractors.damage import DamageTracker
from reeldex.extractors.ffmpeg_process import says_out_of_memory
from reeldex.extractors.frames import FrameBatch

ERRORS_ONLY = ("-loglevel", "error")
"""ffmpeg's options for `Complaints(traced=False)`."""
TRACED = ("-nostats", "-loglevel", "repeat+level+info", "-debug_ts")
"""ffmpeg's options for `Complaints(traced=True)`, to be used with one thread."""

# ffmpeg expects another part after the last boundary of multipart JPEG; each part is complete by then.
_HARMLESS_ERRORS = {"mpjpeg": "Invalid data found when processing input"}

_READ_BYTES = 64 * 1024
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
# `[h264 @ 0x55d] [error] words`: contexts, the level, the message.
_LEVELLED = re.compile(r"((?:\[[^\]]* @ 0x[0-9a-f]+\] )*)\[(panic|fatal|error|warning|info)\] (.*)")
_ERRORS = ("panic", "fatal", "error")
# Several threads of ffmpeg write. It describes its outputs in parts of lines, which what another thread says continues,
# without contexts and level: `    encoder         : Lavc63.1decoder -> pts:512 keyframe:0`.
_PICTURE = re.compile(r"decoder -> .*\bkeyframe:(\d)")
_BEGIN = "Stream mapping:"
_CORRUPT = re.compile(r"corrupt (?:decoded frame|input packet)|Packet corrupt")


class Complaints:
    """Counts ffmpeg's error messages and keeps the first; there may be any number of them.

    With `traced`, `tracker` knows the pictures that they concern.
    """

    def __init__(self, container: str, codec: str, *, traced: bool) -> None:
        self.count = 0
        self.first = ""
        self.out_of_memory = ""
        self.tracker = DamageTracker()
        self._traced = traced
        self._has_begun = False
        self._decoder = f"[{codec} @ "
        self._harmless = _HARMLESS_ERRORS.get(container)
        self._partial = b""

    def read_from(self, descriptor: int) -> Generator[FrameBatch, None, bool]:
        """Read available bytes; return False at the end. Yields nothing."""
        yield from ()
        data = os.read(descriptor, _READ_BYTES)
        *lines, self._partial = (self._partial + data).split(b"\n")
        if not data and self._partial:
            lines, self._partial = [self._partial], b""
        self._partial = self._partial[-_READ_BYTES:]
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip()
            if self._traced:
                self._read_traced(text)
            elif text:
                self._read_error(text)
        return bool(data)

    def _read_error(self, text: str) -> None:
        if self._harmless is None or not text.endswith(self._harmless):
            self._record(text)

    def _read_traced(self, text: str) -> None:
        line = _LEVELLED.match(text)
        if line is None:
            return
        contexts, level, message = line.groups()
        if level == "info":
            picture = _PICTURE.match(message) if contexts or not self._has_begun else _PICTURE.search(message)
            if picture:
                self.tracker.picture(is_keyframe=picture[1] == "1")
            self._has_begun = self._has_begun or message == _BEGIN
            return
        is_error = level in _ERRORS
        if is_error and self._harmless is not None and message.endswith(self._harmless):
            return
        if is_error:
            self._record(contexts + message)
        if not self._has_begun:
            if is_error:
                self.tracker.unplaced()
        elif is_error or _CORRUPT.search(message):
            self.tracker.error(of_decoder=contexts.startswith(self._decoder))

    def _record(self, said: str) -> None:
        self.count += 1
        self.first = self.first or _ADDRESS.sub("", said).strip()
        if not self.out_of_memory and says_out_of_memory(said):
            self.out_of_memory = said
