"""The path of each file of a store, as functions of the store's root."""

from __future__ import annotations

import re
from pathlib import Path

from reeldex.storage.remote_path import local_side
from reeldex.storage.system_errors import list_folder

MANIFEST = "manifest"
FEATURES = "features"
OUTCOMES = "outcomes"
STAGING = "staging"
DAMAGE = "damage"
SEARCHES = "searches"
CLAIMS = "claims"
FOLDERS = (MANIFEST, FEATURES, OUTCOMES, STAGING)
CHANGED_FOLDERS = (*FOLDERS, DAMAGE, SEARCHES)

_SHARD_STEM = re.compile(r"shard-(\d{5}|[1-9]\d{5,})")
_STAGED_NAME = re.compile(r"(\d{5}|[1-9]\d{5,})\.h5")


def shard_stem(shard: int) -> str:
    """Return the name of a shard without suffix: `shard-00007`, with more digits if needed."""
    if shard < 0:
        raise ValueError(f"A shard number counts from 0; got {shard}.")
    return f"shard-{shard:05d}"


def parse_shard_stem(stem: str) -> int | None:
    """Return the shard number of `shard-00007`, or None for any other text."""
    match = _SHARD_STEM.fullmatch(stem)
    return int(match.group(1)) if match else None


def manifest_file(root: Path, shard: int) -> Path:
    """Return the path of a shard's manifest: the list of its videos."""
    return root / MANIFEST / f"{shard_stem(shard)}.json"


def removed_file(root: Path) -> Path:
    """Return the path of the record of removed feature spaces."""
    return root / "removed.json"


def forgotten_file(root: Path) -> Path:
    """Return the path of the record of forgotten videos."""
    return root / "forgotten.json"


def searches_file(root: Path) -> Path:
    """Return the path of the record of the sources that were searched for this store."""
    return root / "searches.json"


def searched_ids_file(root: Path, sha256: str) -> Path:
    """Return the path of the ids that a search of a large source found, named by the SHA-256 of its content."""
    return root / SEARCHES / f"{sha256}.json"


def claims_folder(root: Path) -> Path:
    """Return the folder of the claims of running processes, which is empty when nobody uses the store."""
    return root / CLAIMS


def outcomes_file(root: Path, shard: int) -> Path:
    """Return the path of the outcomes of a shard's videos."""
    return root / OUTCOMES / f"{shard_stem(shard)}.json"


def damage_file(root: Path, shard: int) -> Path:
    """Return the path of the record of a shard's damaged files, which exists only while there are any."""
    return root / DAMAGE / f"{shard_stem(shard)}.json"


def features_file(root: Path, space: str, shard: int) -> Path:
    """Return the path of the HDF5 file with a shard's features in one space."""
    return root / FEATURES / space / f"{shard_stem(shard)}.h5"


def staging_folder(root: Path, shard: int) -> Path:
    """Return the folder of the finished videos of an unfinished shard; of a store at a URL, one of this machine."""
    return staging_root(root) / shard_stem(shard)


def staging_root(root: Path) -> Path:
    """Return the folder with the staging folders of all shards."""
    return local_side(root) / STAGING


def staged_shards(root: Path) -> list[int]:
    """Return the numbers of the shards with a staging folder, in order; raises StoreUnreadableError."""
    # A store that was copied without its empty folders has none.
    found = list_folder(staging_root(root))
    return sorted(shard for path in found if (shard := parse_shard_stem(path.name)) is not None)


def staged_name(position: int) -> str:
    """Return the name of the staged file of the video at this manifest position: `00012.h5`."""
    if position < 0:
        raise ValueError(f"A position counts from 0; got {position}.")
    return f"{position:05d}.h5"


def parse_staged_name(name: str) -> int | None:
    """Return the position of `00012.h5`, or None for any other text."""
    match = _STAGED_NAME.fullmatch(name)
    return int(match.group(1)) if match else None
