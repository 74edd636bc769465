"""Finds and loads .npy files with features: `<folder>/<video id>.npy`, each (rows, dimension)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.storage.errors import StoreError
from reeldex.storage.schema import check_video_id
from reeldex.storage.system_errors import all_below, is_folder, reading
from reeldex.storage.video_names import name_without_suffix

SUFFIX = ".npy"


def npy_files(folder: Path) -> dict[str, Path]:
    """Map each video id to its file below a folder: the path within it, without the suffix.

    Raises StoreError for a file name that cannot be a video id, and StoreUnreadableError.
    """
    found = {}
    for path in all_below(folder):
        if path.suffix != SUFFIX or is_folder(path):
            continue
        video_id = path.relative_to(folder).as_posix().removesuffix(SUFFIX)
        try:
            check_video_id(video_id)
        except ValueError as error:
            raise StoreError(f"{str(path)!r:.300} cannot be used: {error} Rename the file.") from error
        found[video_id] = path
    return found


def may_be_space(path: Path) -> bool:
    """Return whether a path is a folder, as that of a feature space is; raises StoreUnreadableError.

    A link to nothing is an error, since it may be to a disk that is not mounted, unless it has the name of a video.
    """
    is_video = name_without_suffix(path.name) != path.name
    return not (is_video and path.is_symlink() and not path.exists()) and is_folder(path)


def load_array(path: Path) -> npt.NDArray[np.floating]:
    """Return a file's (R, D) array of floating-point numbers; raises StoreError and StoreUnreadableError."""
    try:
        with reading(path), path.open("rb") as file:
            rows = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        # NumPy treats every unknown format as a pickle, and advises reading it unsafely.
        reason = "it is not an .npy file" if "allow_pickle" in str(error) else str(error)
        raise StoreError(f"{path} cannot be read as an array of numbers: {reason}.") from error
    except MemoryError as error:
        raise StoreError(
            f"{path} cannot be read as an array of numbers: its header names more than fit in memory."
        ) from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f":
        raise StoreError(f"{path} contains {_described(rows)}, not (rows, dimension) of a float type.")
    return rows


def load_rows(path: Path) -> npt.NDArray[np.float16]:
    """Return a file's rows as a store has them: (R, D) float16, finite. Raises StoreError and StoreUnreadableError."""
    rows = load_array(path)
    if rows.dtype != np.float16:
        raise StoreError(
            f"{path} contains {_described(rows)}, not (rows, dimension) float16. Convert it with numpy first if the "
            "loss of precision is acceptable; an import does not cast."
        )
    if not rows.size or not np.isfinite(rows).all():
        raise StoreError(f"{path} is empty or contains NaN or infinity. Remove this file or create it again.")
    return np.ascontiguousarray(rows, np.float16)


def _described(rows: object) -> str:
    return f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
