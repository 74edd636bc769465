"""Finds ffmpeg, and restricts it to the one local input file."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess

import ffmpeg as ffmpeg_python

from reeldex.extractors.errors import FfmpegNotFoundError
from reeldex.extractors.options import DecodeLimits

# Containers that contain video or audio themselves. Playlists and scripts that refer to other files or
# URLs (hls, dash, concat, sdp, imf, image sequences ...) are excluded on purpose: ffmpeg then
# refuses such a file before it opens anything that the file refers to. `jpeg_pipe`, as which ffmpeg recognises motion
# JPEG, reads the pictures of the one file, unlike `image2`.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,asf,asf_o,ogg,rm,ivf,"
    "h264,hevc,vvc,obu,av1,h261,h263,vc1,vc1test,dirac,cavsvideo,avs2,avs3,mjpeg,jpeg_pipe,mpjpeg,mjpeg_2000,dv,mxf,gxf,nut,nsv,"
    "wtv,dnxhd,yuv4mpegpipe,gif,apng,webp_anim,swf,film_cpk,smk,bink,roq,4xm,amv,nuv,pva,ty,"
    "mp3,wav,w64,flac,aac,ac3,eac3,dts,aiff,amr,caf,wv,ape,tta,au,opus"
)

# What ffmpeg says of a frame that exceeds `max_pixels`.
TOO_LARGE = re.compile(r"Picture size (\d+)x(\d+) exceeds specified max pixel count")

# How far ffmpeg searches for a stream that begins late: its packets up to there are kept in memory.
_FAR_PROBE_MICROSECONDS = 600_000_000
_FAR_PROBE_BYTES = 128 << 20

# Input options: read only local files, only in those containers, and never wait for keyboard input.
_PATH_GOES_HERE = "reeldex-input"


def input_limits(max_frame_pixels: int = DecodeLimits().max_frame_pixels) -> dict[str, str]:
    """Return the input options for an untrusted file."""
    # ffmpeg counts allocated pixels, which are more than those shown: whole blocks, and a margin.
    most = 2 * max_frame_pixels + (1 << 20)
    return {"protocol_whitelist": "file", "format_whitelist": CONTAINERS, "max_pixels": str(min(most, 2**31 - 1))}


def far_probe_options() -> dict[str, int]:
    """Return the input options for a file whose picture begins late."""
    return {"analyzeduration": _FAR_PROBE_MICROSECONDS, "probesize": _FAR_PROBE_BYTES}


@functools.cache
def executable() -> str:
    """Return the path of ffmpeg: the one on PATH, else the one of the `imageio-ffmpeg` package.

    Raises FfmpegNotFoundError if there is neither.
    """
    on_path = shutil.which("ffmpeg")
    if on_path:
        return on_path
    try:
        import imageio_ffmpeg

        carried: str = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise FfmpegNotFoundError(
            f"There is no ffmpeg on PATH, and the Python package imageio-ffmpeg has none ({error}). "
            "Install ffmpeg with your system's package manager, or: pip install imageio-ffmpeg"
        ) from error
    return carried


@functools.cache
def version() -> str:
    """Return ffmpeg's own version string, such as `9.0.2`, for the provenance of features."""
    answer = subprocess.run([executable(), "-version"], capture_output=True, check=True)
    return answer.stdout.decode("utf-8", "replace").split(maxsplit=3)[2]


@functools.cache
def passthrough_option() -> dict[str, str]:
    """Return the output option that writes every frame unchanged, without dropping or duplicating any.

    It is called `fps_mode` since ffmpeg 5.1; its older name `vsync` was removed in ffmpeg 9.
    """
    answer = subprocess.run([executable(), "-hide_banner", "-h", "long"], capture_output=True, check=True)
    return {"fps_mode" if b"-fps_mode" in answer.stdout else "vsync": "passthrough"}


@functools.cache
def unbuffered_print_option() -> dict[str, int]:
    """Return the option for unbuffered output of the filter `metadata`; ffmpeg 4.2 lacks it and prints blocks."""
    answer = subprocess.run([executable(), "-hide_banner", "-h", "filter=metadata"], capture_output=True, check=True)
    return {"direct": 1} if re.search(rb"^ +direct ", answer.stdout, re.MULTILINE) else {}


def local_input(max_frame_pixels: int, **options: object) -> ffmpeg_python.nodes.FilterableStream:
    """Return an input restricted to local files; `with_path` sets its path once the arguments are complete.

    Its decoder refuses frames that are far larger than `max_frame_pixels`.
    ffmpeg-python cannot contain the path itself: it encodes arguments as UTF-8, and file names may be any bytes.
    """
    return ffmpeg_python.input(_PATH_GOES_HERE, **options, **input_limits(max_frame_pixels))


def with_path(arguments: list[str], path: str) -> list[str]:
    """Return `arguments` with `path` as their only input, whatever characters it contains.

    The `file:` prefix prevents a leading dash from being an option and a colon from being a protocol.
    """
    return [input_url(path) if argument == _PATH_GOES_HERE else argument for argument in arguments]


def input_url(path: str) -> str:
    """Return ffmpeg's URL for a local file."""
    return "file:" + os.path.abspath(path)  # noqa: PTH100 - pathlib would collapse what the name may need
