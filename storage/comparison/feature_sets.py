"""The features of a store, or of a folder of .npy files, by feature space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.storage import layout
from reeldex.storage.errors import StoreError
from reeldex.storage.npy_files import SUFFIX, load_array, may_be_space, npy_files
from reeldex.storage.remote_path import RemotePath
from reeldex.storage.schema import JSON, check_space_name
from reeldex.storage.sidecar import Sidecar, read_sidecar
from reeldex.storage.store import FeatureStore
from reeldex.storage.system_errors import is_folder, list_folder


@dataclass(frozen=True)
class FeatureSet:
    """The features of one space. `space` and `fingerprint` are None where nothing is recorded of the files.

    `load` returns the rows of a video as they are, also such that a store refuses, and the seconds per row, None if
    unknown; it raises StoreError. `provenance` returns how a video's features were made, as far as it is recorded.
    """

    space: str | None
    ids: Sequence[str]
    fingerprint: Mapping[str, JSON] | None
    load: Callable[[str], tuple[npt.NDArray[np.floating], float | None]]
    provenance: Callable[[str], Mapping[str, JSON]]


@dataclass(frozen=True)
class FeatureSets:
    """The feature sets at a path; `chosen` when it is the folder of a single one, so that no other was meant."""

    sets: tuple[FeatureSet, ...]
    chosen: bool

    @property
    def names(self) -> list[str]:
        """The names of the spaces, for a message."""
        return [each.space or "files of an unnamed space" for each in self.sets]


def open_feature_sets(path: Path) -> FeatureSets:
    """Return the feature sets of a store, of folders <space>/<video id>.npy, or of one folder of .npy files.

    At a URL, there can only be a store. Raises StoreError for a path with none of these, and StoreUnreadableError.
    """
    at_url = isinstance(path, RemotePath)
    if not at_url and not is_folder(path):
        raise StoreError(f"{path} is neither a feature store nor a folder of {SUFFIX} files: no such directory.")
    if at_url or all(is_folder(path / name) for name in (layout.MANIFEST, layout.FEATURES, layout.OUTCOMES)):
        store = FeatureStore(path)
        found = tuple(_of_store(store, space) for space in store.spaces())
        if not found:
            raise StoreError(f"The store {path} has no features yet.")
        return FeatureSets(found, chosen=False)
    if read_sidecar(path) is None and (folders := [each for each in list_folder(path) if _is_space(each)]):
        if outside := [each for each in list_folder(path) if each.suffix == SUFFIX and not is_folder(each)]:
            raise StoreError(
                f"{path} has both folders with names of feature spaces, such as {folders[0].name}, and {SUFFIX} files, "
                f"such as {outside[0].name}. Move the files into that of their feature space, or the folders away."
            )
        return FeatureSets(tuple(_of_folder(each) for each in folders), chosen=False)
    return FeatureSets((_of_folder(path),), chosen=True)


def _is_space(folder: Path) -> bool:
    return may_be_space(folder) and (_space_of_name(folder.name) is not None or read_sidecar(folder) is not None)


def _of_store(store: FeatureStore, space: str) -> FeatureSet:
    def load(video_id: str) -> tuple[npt.NDArray[np.floating], float | None]:
        found = store.rows(space, video_id)
        return found.rows, found.seconds_per_row

    return FeatureSet(
        space,
        store.ids(space),
        store.fingerprint(space),
        load,
        lambda video_id: store.provenance(space, video_id),
    )


def _of_folder(folder: Path) -> FeatureSet:
    files, sidecar = npy_files(folder), read_sidecar(folder)
    if not files:
        raise StoreError(f"{folder} contains no {SUFFIX} files, and is not a feature store.")
    space = sidecar.space if sidecar else _space_of_name(folder.name)

    def load(video_id: str) -> tuple[npt.NDArray[np.floating], float | None]:
        known = sidecar.videos.get(video_id) if sidecar else None
        return load_array(files[video_id]), known.seconds_per_row if known else None

    return FeatureSet(
        space,
        sorted(files),
        sidecar.fingerprint if sidecar else None,
        load,
        lambda video_id: _exported_provenance(sidecar, video_id),
    )


def _space_of_name(name: str) -> str | None:
    try:
        check_space_name(name)
    except ValueError:
        return None
    return name


def _exported_provenance(sidecar: Sidecar | None, video_id: str) -> Mapping[str, JSON]:
    known = sidecar.videos.get(video_id) if sidecar else None
    return sidecar.provenances[known.provenance] if sidecar and known else {}
