"""The published checkpoint and evaluation data: where they are stored, and downloading them once."""

from __future__ import annotations

import logging
import zipfile
import zlib
from pathlib import Path

from reeldex.cached_files import published
from reeldex.extractors.errors import WeightsError
from reeldex.extractors.weights import PretrainedWeights, cache_folder, file_of
from reeldex.flows.progress.downloads import find_or_fetch_shown

log = logging.getLogger(__name__)

PUBLISHED = "published"
"""The value for the published checkpoint or data folder, instead of a path."""

CHECKPOINT_NAME = "howto100m"
EVALUATION_DATA_URL = "https://www.rocq.inria.fr/cluster-willow/amiech/howto100m/metadata_eval.zip"
GOOGLE_NEWS = "GoogleNews-vectors-negative300.bin"
PUBLISHED_DATASETS = ("msrvtt", "youcook2", "lsmdc")
"""Data sets whose files the published evaluation data contain."""

# A file of the archive with a known name: the folder that contains it is the data folder.
_LANDMARK = "MSRVTT_JSFUSION_test.csv"
_LOCAL = "give the path of a local one"


def published_checkpoint() -> PretrainedWeights:
    """Return the source of the published weights of the embedding."""
    from reeldex.embedding.training.checkpoint import PUBLISHED_CHECKPOINT_URL

    return PretrainedWeights(CHECKPOINT_NAME, PUBLISHED_CHECKPOINT_URL, f"{_LOCAL}: --checkpoint FILE")


def checkpoint_path(given: str, weights_folder: Path | None) -> Path:
    """Return the file of a checkpoint given by path or as `published`, downloading the published one if missing."""
    return find_or_fetch_shown(published_checkpoint(), None, weights_folder) if given == PUBLISHED else Path(given)


def is_published(folder: Path) -> bool:
    """Whether a data folder is `published`, which has to be downloaded."""
    return str(folder) == PUBLISHED


def is_published_file(path: Path, weights_folder: Path | None) -> bool:
    """Whether a file is one of the downloaded and unpacked evaluation data."""
    return path.absolute().is_relative_to(_unpacked(weights_folder).absolute())


def _unpacked(weights_folder: Path | None) -> Path:
    return (weights_folder or cache_folder()) / "metadata_eval"


def data_folder(given: Path, weights_folder: Path | None) -> Path:
    """Return the data folder `given`; for `published`, download and unpack the published archive once.

    It contains annotations and features of MSR-VTT, YouCook2 and LSMDC, and the word vectors. Raises WeightsError.
    """
    if not is_published(given):
        return given
    archive = PretrainedWeights("evaluation-data", EVALUATION_DATA_URL, f"{_LOCAL}: --data DIR")
    unpacked = _unpacked(weights_folder)
    if not unpacked.is_dir():
        path = find_or_fetch_shown(archive, None, weights_folder)
        _unpack(path, unpacked)
    found = sorted(unpacked.rglob(_LANDMARK))
    if not found:
        raise WeightsError(
            f"{unpacked} does not contain the published evaluation data: {_LANDMARK} is missing. Delete the "
            f"folder and {file_of(archive, None, weights_folder)} to download it again."
        )
    return found[0].parent


def _unpack(archive: Path, folder: Path) -> None:
    log.info("Unpacking %s to %s", archive, folder)
    try:
        with zipfile.ZipFile(archive) as opened, published(folder) as unfinished:
            opened.extractall(unfinished)
    # zlib and zipfile raise their own errors for a damaged member.
    except (EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise WeightsError(
            f"{archive} could not be unpacked to {folder}: {error}. Delete it to download it again."
        ) from error
    except OSError as error:
        if folder.is_dir():
            return  # another process was faster
        raise WeightsError(
            f"{archive} could not be unpacked to {folder}: {error}. Check the permissions of both and the space on the "
            "disk; the archive is not known to be damaged."
        ) from error
