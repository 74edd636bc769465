"""Opens files of captions, each converted once to a memory-mapped cache."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from reeldex import user_folders
from reeldex.embedding.caption_cache import CaptionFile, cached_source, write_cache
from reeldex.embedding.caption_sources import read_captions
from reeldex.embedding.errors import DatasetError, require_file
from reeldex.quantities import counted
from reeldex.storage.lock import hold_lock
from reeldex.storage.schema import JSON

log = logging.getLogger(__name__)

_LONGEST_CONVERSION_SECONDS = 24 * 3600.0


def open_captions(path: Path, cache_folder: Path | None = None) -> CaptionFile:
    """Open captions in .json, .csv, .pickle or .pkl, converted the first time and whenever the file changes.

    Several processes convert once: the others wait. `cache_folder` is `reeldex/captions` in XDG_CACHE_HOME or in
    ~/.cache when None. Raises DatasetError.
    """
    source = _signature(path)
    folder = cache_folder or user_folders.cache_folder("captions")
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]
    cache = folder / f"{path.name[:100]}-{name}.captions"
    if cached_source(cache) != source:
        user_folders.make_writable(folder, "datasets.howto100m.captions_cache or XDG_CACHE_HOME")
        with hold_lock(folder, _LONGEST_CONVERSION_SECONDS, "cache of captions"):
            if cached_source(cache) != source:
                _convert(path, cache, source)
    opened = CaptionFile(path, cache)
    if opened.dropped:
        log.warning("%s: %s without a video or a possible time left out", path, counted(opened.dropped, "caption"))
    return opened


def _convert(path: Path, cache: Path, source: dict[str, JSON]) -> None:
    log.info("Converting %s to %s (once)", path, cache)
    try:
        write_cache(cache, read_captions(path), source)
    except OSError as error:
        raise DatasetError(
            f"The cache of captions cannot be written to {cache}: {error}. Select another folder with "
            "datasets.howto100m.captions_cache or XDG_CACHE_HOME, with about 1.5 times as much free space as the file."
        ) from error


def _signature(path: Path) -> dict[str, JSON]:
    """Return a cheap description of a file, which changes when it is written."""
    require_file(path)
    status = path.stat()
    return {"size_bytes": status.st_size, "modified_ns": status.st_mtime_ns}
