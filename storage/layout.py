"""Where each file of a store lies, as functions of the store's root."""

import re
from pathlib import Path

from reeldex.storage.system_errors import list_folder

MANIFEST = "manifest"
FEATURES = "features"
OUTCOMES = "outcomes"
STAGING = "staging"
FOLDERS = (MANIFEST, FEATURES, OUTCOMES, STAGING)

_SHARD_STEM = re.compile(r"shard-(\d{5}|[1-9]\d{5,})")
_STAGED_NAME = re.compile(r"(\d{5}|[1-9]\d{5,})\.h5")


def shard_stem(shard: int) -> str:
    """Name of a shard without suffix: `shard-00007`; more than five digits when the number needs them."""
    if shard < 0:
        raise ValueError(f"A shard number counts from 0; got {shard}.")
    return f"shard-{shard:05d}"


def parse_shard_stem(stem: str) -> int | None:
    """Shard number of `shard-00007`, or None when the text is no such name."""
    match = _SHARD_STEM.fullmatch(stem)
    return int(match.group(1)) if match else None


def manifest_file(root: Path, shard: int) -> Path:
    """Locate the file that says which videos a shard holds."""
    return root / MANIFEST / f"{shard_stem(shard)}.json"


def outcomes_file(root: Path, shard: int) -> Path:
    """Locate the file that says what became of each video of a shard."""
    return root / OUTCOMES / f"{shard_stem(shard)}.json"


def features_file(root: Path, space: str, shard: int) -> Path:
    """Locate the HDF5 file with a shard's features in one space."""
    return root / FEATURES / space / f"{shard_stem(shard)}.h5"


def staging_folder(root: Path, shard: int) -> Path:
    """Locate the folder with finished videos of an unfinished shard."""
    return root / STAGING / shard_stem(shard)


def staged_shards(root: Path) -> list[int]:
    """Numbers of the shards that have a staging folder, in order; raises StoreUnreadableError."""
    # A store that was copied without its empty folders has none.
    found = list_folder(root / STAGING)
    return sorted(shard for path in found if (shard := parse_shard_stem(path.name)) is not None)


def staged_name(position: int) -> str:
    """Name of the staged file of the video at this position of its manifest: `00012.h5`."""
    if position < 0:
        raise ValueError(f"A position counts from 0; got {position}.")
    return f"{position:05d}.h5"


def parse_staged_name(name: str) -> int | None:
    """Position of `00012.h5`, or None when the text is no such name."""
    match = _STAGED_NAME.fullmatch(name)
    return int(match.group(1)) if match else None
