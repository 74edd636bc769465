"""Where tests keep what takes long to make, for all their processes and for later runs."""

from __future__ import annotations

from pathlib import Path

# Random weights and converted networks take a minute to make. They are checked against their hashes whenever they are
# read; `pytest --cache-clear` removes all.
CACHE = Path(__file__).resolve().parents[1] / ".pytest_cache" / "d" / "reeldex"
