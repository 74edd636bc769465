"""Container metadata of a file, from ffmpeg's description of its input.

Does not use ffprobe, which not every ffmpeg installation includes.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import replace

from reeldex.extractors import ffmpeg, file_kinds, jpeg_files
from reeldex.extractors.description import (
    has_sound,
    is_excluded,
    no_video,
    parse_description,
    require_container,
)
from reeldex.extractors.errors import FailureReason, ProbeError
from reeldex.extractors.ffmpeg_process import require_memory
from reeldex.extractors.frames import VideoMetadata
from reeldex.extractors.input_descriptions import Description, describe
from reeldex.extractors.options import DecodeLimits, DecodeOptions
from reeldex.extractors.packets import first_packet_seconds, single_pictures
from reeldex.extractors.video_tracks import VideoTrack, candidates, choice_sentence, choose, video_tracks
from reeldex.quantities import counted

# Default time limit of a probe, in seconds of wall-clock time.
PROBE_TIMEOUT_SECONDS = 60.0
_JPEG_CONTAINERS = ("jpeg_pipe", "mjpeg")

# In these containers, ffmpeg counts time from the first of the streams that are used. Up to a second later than the
# sound, a picture counts as its beginning, as in the published extractor.
_TIMED_BY_USED_STREAMS = ("mpegts", "mpeg")
_LATE_SECONDS = 1.0


def probe(
    path: str,
    timeout_seconds: float = PROBE_TIMEOUT_SECONDS,
    limits: DecodeLimits | None = None,
    options: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
    description: Description | None = None,
) -> VideoMetadata:
    """Return the container metadata of the video track of the file at `path` that is to be decoded.

    `description` is that of `describe_together`, which spares a process; it is not used if the file has changed since.

    Raises ProbeError with the reason `missing`, `unreadable`, `no_video_stream`, `timeout`, `too_large` or, if ffmpeg
    itself is killed, `decode_error`.
    """
    require_readable_file(path)
    limits = limits or DecodeLimits()
    until = time.monotonic() + timeout_seconds
    if description is not None and description.is_current(path):
        text = description.text
    else:
        text = describe(path, limits, timeout_seconds)
    if is_excluded(text):
        raise _excluded(path, limits, until - time.monotonic())
    try:
        require_container(path, text)
        far = not _is_found(text, options)
        if far:
            # In a stream without a header, a picture that begins late is not seen yet.
            text = describe(path, limits, until - time.monotonic(), ffmpeg.far_probe_options())
        tracks = video_tracks(text)
        preferred = candidates(tracks)
        stills: frozenset[int] = frozenset()
        if options.video_track is not None:
            track = _requested(path, tracks, options.video_track)
        elif not preferred:
            raise no_video(path, text)
        else:
            streams = [each.stream for each in preferred]
            if len(streams) > 1:
                stills = single_pictures(path, streams, limits, until - time.monotonic(), far=far)
            track = choose(preferred, stills)
    except ProbeError as error:
        # Checked last: the title of an audio file may contain any text.
        require_memory(ProbeError, path, text, limits.ffmpeg_memory_bytes)
        if error.reason is FailureReason.UNREADABLE:
            raise file_kinds.unrecognised_file(path, _head(path)) or error from None
        raise
    if require_container(path, text) in _JPEG_CONTAINERS and not jpeg_files.contains_several_pictures(path):
        raise file_kinds.still_picture(path, "jpeg")
    choice = choice_sentence(track, preferred, stills, requested=options.video_track is not None)
    metadata = replace(parse_description(path, text, track), track_choice=choice, probed_far=far)
    if metadata.container not in _TIMED_BY_USED_STREAMS or not has_sound(text):
        return metadata
    begins = first_packet_seconds(path, track.stream, limits, until - time.monotonic(), far=far)
    return replace(metadata, begins_late=begins is not None and begins > _LATE_SECONDS)


def _is_found(text: str, options: DecodeOptions) -> bool:
    """Whether ffmpeg's description includes the track to decode, with its size."""
    tracks = video_tracks(text)
    if options.video_track is None:
        # A picture that is too large is known, and refused.
        return bool(candidates(tracks)) or ffmpeg.TOO_LARGE.search(text) is not None
    return options.video_track <= len(tracks) and tracks[options.video_track - 1].is_known


def _requested(path: str, tracks: Sequence[VideoTrack], number: int) -> VideoTrack:
    if number <= len(tracks) and tracks[number - 1].is_known:
        return tracks[number - 1]
    listed = ", ".join(str(track) for track in tracks)
    raise ProbeError(
        path,
        FailureReason.NO_VIDEO_STREAM,
        f"Video track {number} was requested, but the file has {counted(len(tracks), 'video track')}"
        f"{f': {listed}' if tracks else ''}.",
        "Set decode.video_track (--video-track) to one of these, or leave it out.",
    )


def _excluded(path: str, limits: DecodeLimits, timeout_seconds: float) -> ProbeError:
    """Return the error for a file in an excluded format, which ffmpeg names in its debug messages only."""
    text = describe(path, limits, timeout_seconds, {"loglevel": "debug"})
    return file_kinds.excluded_format(path, file_kinds.probed_format(text), _head(path), ffmpeg.version())


def _head(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - paths may hold bytes that are not UTF-8
        return file.read(file_kinds.HEAD_BYTES)


def require_readable_file(path: str) -> None:
    """Raise ProbeError unless `path` is a regular, non-empty file that can be opened for reading."""
    try:
        status = os.stat(path)  # noqa: PTH116 - paths may hold bytes that are not UTF-8
        # Checked before it is opened: opening a named pipe would block until another process writes to it.
        if not stat.S_ISREG(status.st_mode):
            raise ProbeError(
                path, FailureReason.UNREADABLE, "This is not a regular file.", "Name a video file instead."
            )
        os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError as error:
        raise ProbeError(
            path,
            FailureReason.MISSING,
            "There is no such file.",
            "Restore it, or remove it from the list.",
        ) from error
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # a resource of the machine is exhausted; not an error of the file
        raise ProbeError(
            path,
            FailureReason.UNREADABLE,
            f"The file cannot be opened: {error.strerror}.",
            "Check its permissions and its disk.",
        ) from error
    if status.st_size == 0:
        raise ProbeError(path, FailureReason.UNREADABLE, "The file is empty (0 bytes).", "Download or copy it again.")
