"""What is worth knowing about how a video was decoded, although it has features."""

from __future__ import annotations

from enum import StrEnum


class NoteKind(StrEnum):
    """The closed list of notes. A note is one of these and a sentence that explains it.

    - VIDEO_TRACK: the file has several video tracks; the sentence names the one that was decoded, and why.
    - TIMESTAMPS_REPAIRED: some pictures carried impossible times; they follow the pictures before them instead.
    - LONG_GAPS: for some time the file has no new picture, so that rows repeat one.
    - HDR: the file is HDR; the sentence says which kind, and whether its colours were mapped to BT.709.
    - DAMAGED_ROWS: the decoder reported errors; the sentence says which rows they may concern, or that it is unknown.
    - SOFTWARE_DECODING: hardware decoding was asked for; the sentence says why the CPU decoded the video.
    """

    VIDEO_TRACK = "video_track"
    TIMESTAMPS_REPAIRED = "timestamps_repaired"
    HDR = "hdr"
    LONG_GAPS = "long_gaps"
    DAMAGED_ROWS = "damaged_rows"
    SOFTWARE_DECODING = "software_decoding"
