"""The file name endings of the containers that ffmpeg may open."""

from __future__ import annotations

# Demuxer of ffmpeg -> endings of files with moving pictures. Containers of sound have none, and endings of files that
# are nearly always one still picture are left out: searching them would only fail. A list may name any file.
_ENDINGS = {
    "mov": "mov qt mqv mp4 m4v f4v f4p ism ismv 3gp 3gpp 3g2 3gp2 mj2 mjp2 insv lrv 360",
    "matroska": "mkv mk3d webm",
    "avi": "avi divx xvid",
    "mpegts": "ts m2ts m2t mts mpegts tp trp tod",
    "mpeg": "mpg mpeg mpe mp2v m2p ps vob evo vro mod vdr",
    "mpegvideo": "m1v m2v mpv mpgv",
    "m4v": "m4v cmp",
    "flv": "flv",
    "live_flv": "flv",
    "asf": "asf wmv wm dvr-ms",
    "asf_o": "asf",
    "ogg": "ogg ogv ogm ogx",
    "rm": "rm rmvb rv",
    "ivf": "ivf",
    "h264": "h264 264 avc 26l h26l jsv",
    "hevc": "hevc h265 265",
    "vvc": "vvc h266 266",
    "obu": "obu",
    "av1": "av1",
    "h261": "h261",
    "h263": "h263",
    "vc1": "vc1",
    "vc1test": "rcv",
    "dirac": "drc vc2",
    "cavsvideo": "cavs",
    "avs2": "avs2",
    "avs3": "avs3",
    "mjpeg": "mjpeg mjpg",
    "mjpeg_2000": "mj2k",
    "mpjpeg": "mjpeg mjpg",
    "dv": "dv dif",
    "mxf": "mxf",
    "gxf": "gxf",
    "nut": "nut",
    "nsv": "nsv",
    "wtv": "wtv",
    "dnxhd": "dnxhd dnxhr",
    "yuv4mpegpipe": "y4m",
    "gif": "gif",
    "apng": "apng",
    "swf": "swf",
    "film_cpk": "cpk cak film",
    "smk": "smk",
    "bink": "bik bk2",
    "roq": "roq",
    "4xm": "4xm",
    "amv": "amv",
    "nuv": "nuv",
    "pva": "pva",
    "ty": "ty ty+",
    **dict.fromkeys(("jpeg_pipe", "webp_anim"), ""),  # nearly always one still picture
    **dict.fromkeys(
        (
            "mp3",
            "wav",
            "w64",
            "flac",
            "aac",
            "ac3",
            "eac3",
            "dts",
            "aiff",
            "amr",
            "caf",
            "wv",
            "ape",
            "tta",
            "au",
            "opus",
        ),
        "",
    ),
}
# Other names of a demuxer in this table.
_ALIASES = {"mp4": "mov", "m4a": "mov", "3gp": "mov", "3g2": "mov", "mj2": "mov", "webm": "matroska"}

VIDEO_SUFFIXES = frozenset(f".{ending}" for endings in _ENDINGS.values() for ending in endings.split())
"""Lower-case file name suffixes of videos, with their dots."""


TEXT_SUFFIXES = frozenset(suffix for suffix in VIDEO_SUFFIXES if not suffix[1:].isdigit())
"""Those that are no number: `.264` may end a data set's id such as `film_00.00.50.000-00.00.54.264`, a time."""


def suffixes_of(demuxer: str) -> frozenset[str]:
    """Return the suffixes of a demuxer's files with moving pictures. Raises KeyError for an unknown demuxer."""
    return frozenset(f".{ending}" for ending in _ENDINGS[_ALIASES.get(demuxer, demuxer)].split())
