"""Folders for a user's caches and state, as the XDG specification defines them.

Downloaded weights are stored in PyTorch's own cache, which TORCH_HOME moves. Imports no package of ours, and every
package may import it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from reeldex.errors import UserError

_NAME = "reeldex"


class FolderNotWritableError(UserError):
    """A folder for caches or state cannot be created or written."""


def cache_folder(part: str) -> Path:
    """Return `$XDG_CACHE_HOME/reeldex/<part>`, by default in `~/.cache`; it may not exist yet."""
    return _known(platformdirs.user_cache_path, "XDG_CACHE_HOME") / part


def state_folder() -> Path:
    """Return `$XDG_STATE_HOME/reeldex`, by default `~/.local/state/reeldex`; it may not exist yet.

    Prefect's database, the secret of servers and locks of devices are stored there.
    """
    return _known(platformdirs.user_state_path, "XDG_STATE_HOME")


def _known(find: Callable[[str], Path], variable: str) -> Path:
    try:
        return find(_NAME)
    except RuntimeError as error:
        raise FolderNotWritableError(
            f"This user has no home folder. Set {variable} to a folder to use instead."
        ) from error


def make_writable(folder: Path, setting: str) -> Path:
    """Create a folder if it is absent, and return it.

    Raises FolderNotWritableError, which names the `setting` that selects another folder, such as XDG_STATE_HOME.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise FolderNotWritableError(
            f"The folder {folder} cannot be written: {error.strerror}. Select another one with {setting}, or change "
            "its permissions."
        ) from error
