"""Serves the search page with this machine's ffmpeg and folders."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex import user_folders
from reeldex.errors import UsageError
from reeldex.extractors import description, ffmpeg, ffmpeg_process
from reeldex.extractors.errors import ProbeError

if TYPE_CHECKING:
    from reeldex.extractors.frames import VideoMetadata
    from reeldex.flows.config.pipeline import PipelineConfig
    from reeldex.search.index import SearchIndex


def serve_page(index: SearchIndex, config: PipelineConfig) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Raises FfmpegNotFoundError, UsageError when the port is in use, and FolderNotWritableError for its cache.
    """
    from reeldex.search.page.options import FfmpegProgram, PageOptions
    from reeldex.search.page.serve import serve

    limits = config.compute.limits
    input_options = ffmpeg.input_limits(limits.max_frame_pixels)
    options = PageOptions(
        ffmpeg=FfmpegProgram(
            tuple(ffmpeg_process.command(limits.ffmpeg_memory_bytes)),
            tuple(part for name, value in input_options.items() for part in (f"-{name}", value)),
            describe,
        ),
        cache=user_folders.make_writable(
            config.page.cache_folder or default_cache_folder(), "page.cache_folder or XDG_CACHE_HOME"
        ),
        cache_bytes=config.page.cache_bytes,
    )
    try:
        serve(index, options, port=config.page.port, ready=_print_address)
    except OSError as error:
        # An error with a file name concerns the cache folder or a file of the page, not the port.
        if error.filename is not None or error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is already in use" if error.errno == errno.EADDRINUSE else "is not open to this user"
        raise UsageError(
            f"Port {config.page.port} {why}. Choose another one with --port, or 0 for any free one."
        ) from error


def describe(path: str, printed: bytes) -> VideoMetadata | None:
    """Return the metadata in ffmpeg's description of a file; None without a readable video stream."""
    try:
        return description.read_description(path, printed)
    except ProbeError:
        return None


def default_cache_folder() -> Path:
    """Return the folder for pictures and converted videos: `reeldex/page` in XDG_CACHE_HOME or in ~/.cache."""
    return user_folders.cache_folder("page")


def _print_address(address: str) -> None:
    sys.stdout.write(f"Search page: {address}\nPress Ctrl-C to stop.\n")
    sys.stdout.flush()
