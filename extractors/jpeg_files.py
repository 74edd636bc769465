"""Tells a photo from motion JPEG: whether a file of JPEG data contains more than one picture."""

from __future__ import annotations

import re

_START = b"\xff\xd8\xff"
_START_OF_PICTURE = 0xD8
_END_OF_PICTURE = 0xD9
_START_OF_SCAN = 0xDA
_APP2 = 0xE2
# Within a scan, 0xFF is followed by 0 or by a restart marker; other markers end it.
_MARKER_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
# Cameras write padding between pictures, and servers a boundary with the headers of the next one.
_LARGEST_SPACE_BYTES = 4096
# A file whose first picture is larger counts as one picture.
_READ_BYTES = 64 << 20


def contains_several_pictures(path: str) -> bool:
    """Whether a file that begins with a JPEG picture continues with another one.

    Previews within a picture do not count, nor do the additional pictures of a photo in the Multi-Picture Format
    (stereo views, gain maps), nor a video that is appended to a photo.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - paths may hold bytes that are not UTF-8
        data = file.read(_READ_BYTES)
    start = data.find(_START)
    if start < 0:
        return False
    end, is_photo = _end_of_picture(data, start)
    return not is_photo and end is not None and data.find(_START, end, end + _LARGEST_SPACE_BYTES) >= 0


def _end_of_picture(data: bytes, start: int) -> tuple[int | None, bool]:
    """Return where the picture at `start` ends, None if unknown, and whether it is in the Multi-Picture Format.

    A picture that lacks its end ends where the next one starts.
    """
    at, is_photo = start + 2, False
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            return None, is_photo
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == _START_OF_PICTURE:
            return at, is_photo
        elif marker == _END_OF_PICTURE:
            return at + 2, is_photo
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            is_photo = is_photo or (marker == _APP2 and data[at + 4 : at + 8] == b"MPF\0")
            at += 2 + max(2, length)
            if marker == _START_OF_SCAN:
                scan_end = _MARKER_AFTER_SCAN.search(data, at)
                if scan_end is None:
                    return None, is_photo
                at = scan_end.start(1) - 1
    return None, is_photo
