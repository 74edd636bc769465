"""Where reeldex keeps what is neither a store nor a cache: Prefect's database, device locks."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """Return `$XDG_STATE_HOME/reeldex`, by default `~/.local/state/reeldex`; it may not exist yet."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "reeldex"
