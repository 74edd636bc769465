"""What a video stream says of its colours, in ffmpeg's names."""

from __future__ import annotations

import re
from dataclasses import dataclass

# ffmpeg prints matrix/primaries/transfer, or one name if they have the same one.
_THREE_NAMES = re.compile(r"([\w-]+)/([\w-]+)/([\w-]+)")
_ONE_NAME = re.compile(r"bt709|bt470m|bt470bg|smpte170m|smpte240m|bt2020\w*|fcc|film|gbr|ycgco|ictcp|smpte\d+")
_RANGES = ("tv", "pc")
_DOLBY_VISION = re.compile(
    r"^ +DOVI configuration record:.*?\bprofile: (\d+).*?\bcompatibility id: (\d+)", re.MULTILINE
)

_PQ, _HLG = "smpte2084", "arib-std-b67"
_HDR_NAMES = {_PQ: "PQ", _HLG: "HLG"}


@dataclass(frozen=True)
class Colour:
    """Range (`tv` or `pc`), matrix, primaries and transfer of a stream, each None if the file does not state it.

    `dolby_vision_profile` is that of a stream whose pictures are only complete with Dolby Vision's own metadata.
    """

    range: str | None = None
    matrix: str | None = None
    primaries: str | None = None
    transfer: str | None = None
    dolby_vision_profile: int | None = None

    @property
    def hdr(self) -> str | None:
        """The kind of high dynamic range: PQ, HLG or Dolby Vision with its profile; None for standard range."""
        if self.dolby_vision_profile is not None:
            return f"Dolby Vision profile {self.dolby_vision_profile}"
        return _HDR_NAMES.get(self.transfer or "")

    @property
    def can_be_tone_mapped(self) -> bool:
        """Whether the transfer is one that `tone_map` converts."""
        return self.dolby_vision_profile is None and self.transfer in _HDR_NAMES

    def stated(self) -> dict[str, str]:
        """Return what the file states, by name."""
        fields = {"range": self.range, "matrix": self.matrix, "primaries": self.primaries, "transfer": self.transfer}
        return {name: value for name, value in fields.items() if value is not None}


def parse_colour(properties: str, side_data: str) -> Colour:
    """Return the colours in ffmpeg's description of a pixel format, such as `tv, bt709, progressive`.

    `side_data` are the lines on the stream that follow it.
    """
    parts = [part.strip() for part in properties.split(",")]
    found = next((part for part in parts if part in _RANGES), None)
    names: list[str | None] = [None, None, None]
    for part in parts:
        if three := _THREE_NAMES.fullmatch(part):
            names = [None if name in ("unknown", "reserved") else name for name in three.groups()]
        elif _ONE_NAME.fullmatch(part):
            names = [part, part, part]
    # Without compatibility to another format (id 0), such as profile 5, the base layer is not displayable itself.
    dolby = _DOLBY_VISION.search(side_data)
    profile = int(dolby[1]) if dolby and dolby[2] == "0" else None
    return Colour(found, names[0], names[1], names[2], profile)
