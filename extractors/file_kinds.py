"""Names what a file is that contains no video which reeldex decodes, so that the error states it.

ffmpeg itself recognises the format; the first bytes tell apart what ffmpeg does not.
"""

from __future__ import annotations

import re

from reeldex.extractors.errors import FailureReason, ProbeError

_PROBED = re.compile(r"\bFormat (\S+) probed with size=\d+ and score=\d+")

# Formats that name other files or addresses, by the name of ffmpeg's demuxer.
_REFERRING = frozenset(
    "hls dash concat concatf sdp rtsp rtp sap imf image2 image2pipe webm_dash_manifest vapoursynth avisynth "  # noqa: SIM905
    "vobsub rpl".split()
)
_SUBTITLES = frozenset(
    "srt ass ssa webvtt subviewer subviewer1 microdvd mpl2 mpsub pjs realtext sami stl tedcaptions vplayer jacosub "  # noqa: SIM905
    "aqtitle scc mcc lrc sup dvbsub dvbtxt".split()
)
_TEXTS = frozenset("tty bin xbin adf idf sbg ffmetadata".split())  # noqa: SIM905
# Pictures have a demuxer called <kind>_pipe.
_PICTURE_NAMES = {
    "jpeg": "JPEG",
    "jpegls": "JPEG-LS",
    "jpegxl": "JPEG XL",
    "jpegxs": "JPEG XS",
    "j2k": "JPEG 2000",
    "webp": "WebP",
    "psd": "Photoshop",
    "exr": "OpenEXR",
    "hdr": "Radiance HDR",
    "photocd": "Photo CD",
    "sunrast": "Sun raster",
}
_SIGNATURES = (
    (re.compile(rb"\s*(?:<!doctype html|<html|<head|<body)", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"\s*<\?xml"), "an XML document"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"\x1f\x8b\x08"), "a gzip archive"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive"),
    (re.compile(rb"Rar!\x1a\x07"), "a RAR archive"),
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"\x89HDF\r\n\x1a\n"), "an HDF5 file"),
    (re.compile(rb"\x93NUMPY"), "a NumPy array"),
    (re.compile(rb"\s*[{\[]\s*(?:[\"{\[\d\]}])"), "JSON text"),
)
# ffmpeg takes some file names for image sequences, whatever the file contains.
_BY_FILE_NAME = ("", "image2")
_PATTERN = re.compile(r"%\d*d[^/]*$|[*?{\[][^/]*$")
_JPEG = b"\xff\xd8\xff"
# VP8X, the chunk of extended WebP files, begins with flags, one of which means animation.
_WEBP_FLAGS_AT = 20
_WEBP_ANIMATION = 0x02
HEAD_BYTES = 512
"""So many bytes from the start of a file are enough to recognise it."""

_REMOVE = "Remove it from the folder or list, or replace it if it should be a video."


def probed_format(printed: str) -> str | None:
    """Return the name of the format that ffmpeg recognised, from its debug messages; None if it did not say."""
    found = _PROBED.search(printed)
    return found[1] if found else None


def excluded_format(path: str, format_name: str | None, head: bytes, ffmpeg_version: str) -> ProbeError:
    """Return the error for a file in a format that is not read: `format_name` is ffmpeg's, `head` its first bytes."""
    name = format_name or ""
    if name in _BY_FILE_NAME and head.startswith(_JPEG):
        return still_picture(path, "jpeg")
    if not name and _PATTERN.search(path):
        return ProbeError(
            path,
            FailureReason.UNREADABLE,
            "ffmpeg takes the file's name for the pattern of an image sequence, which is not read.",
            "Rename the file.",
        )
    if name == "webp_pipe" and is_animated_webp(head):
        return ProbeError(
            path,
            FailureReason.UNREADABLE,
            f"The file is an animated WebP, which ffmpeg {ffmpeg_version} cannot decode.",
            "Use an ffmpeg that lists webp_anim in `ffmpeg -demuxers`, or convert the file to another format.",
        )
    return (
        _of_format(path, name)
        or unrecognised_file(path, head)
        or ProbeError(
            path,
            FailureReason.UNREADABLE,
            f"The file is in a format ({name or 'unknown'}) that is not among the video containers that are read.",
            "Convert it, for example to MP4 or Matroska, if it contains video; otherwise remove it.",
        )
    )


def _of_format(path: str, name: str) -> ProbeError | None:
    """Return the error for a file in an excluded format of that name, None for a name that is not listed here."""
    if name.endswith("_pipe"):
        return still_picture(path, name.removesuffix("_pipe"))
    if name in _SUBTITLES or name in _TEXTS:
        content = "subtitles" if name in _SUBTITLES else "text"
        return ProbeError(
            path, FailureReason.UNREADABLE, f"The file contains {content} ({name}) and no video.", _REMOVE
        )
    if name in _REFERRING:
        return _referring(path, name)
    return None


def still_picture(path: str, kind: str) -> ProbeError:
    """Return the error for a file that is one picture; `kind` as in the name of ffmpeg's demuxer, such as `jpeg`."""
    return ProbeError(
        path,
        FailureReason.NO_VIDEO_STREAM,
        f"The file is a still picture ({_PICTURE_NAMES.get(kind, kind.upper())}), not a video.",
        _REMOVE,
    )


def is_animated_webp(head: bytes) -> bool:
    """Whether a file that begins with `head` is an animated WebP."""
    return (
        len(head) > _WEBP_FLAGS_AT
        and head[:4] == b"RIFF"
        and head[8:16] == b"WEBPVP8X"
        and bool(head[_WEBP_FLAGS_AT] & _WEBP_ANIMATION)
    )


def unrecognised_file(path: str, head: bytes) -> ProbeError | None:
    """Return the error for a file that ffmpeg does not recognise, by its first bytes; None if they tell nothing."""
    if head.lstrip(b"\xef\xbb\xbf").startswith(b"#EXTM3U"):
        return _referring(path, "m3u")
    kind = next((kind for pattern, kind in _SIGNATURES if pattern.match(head)), None)
    if kind is None:
        return None
    return ProbeError(path, FailureReason.UNREADABLE, f"The file is {kind}, not a video.", _REMOVE)


def _referring(path: str, name: str) -> ProbeError:
    return ProbeError(
        path,
        FailureReason.UNREADABLE,
        f"The file is a playlist, a script or another format ({name}) that refers to other files or URLs, "
        "which are not followed.",
        "Name the video files themselves.",
    )
