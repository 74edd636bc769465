"""Rotated test videos, made without ffmpeg's `-display_rotation`, which only ffmpeg 6 and later know."""

from __future__ import annotations

import struct
from pathlib import Path

# From the type of the box to its matrix, by the version of the box: ISO/IEC 14496-12, "tkhd".
_MATRIX_OFFSETS = {0: 44, 1: 56}
# Rows of (a, b, u), (c, d, v), (x, y, w): a quarter turn counter-clockwise, in 16.16 and 2.30 fixed point.
_QUARTER_TURN = struct.pack(">9i", 0, -0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000)


def write_rotated(plain: Path, rotated: Path) -> Path:
    """Rewrite an MP4 of one track with a rotation of 90 degrees counter-clockwise."""
    content = bytearray(plain.read_bytes())
    box = content.index(b"tkhd")
    assert content.find(b"tkhd", box + 1) == -1, "one track"
    matrix = box + _MATRIX_OFFSETS[content[box + 4]]
    content[matrix : matrix + len(_QUARTER_TURN)] = _QUARTER_TURN
    rotated.write_bytes(content)
    return rotated
