"""Where tests keep what takes long to make, for all their processes and for later runs."""

from __future__ import annotations

from pathlib import Path

# Random weights and converted networks take a minute to make. They are checked against their hashes whenever they are
# read; `pytest --cache-clear` removes all.
CACHE = Path(__file__).resolve().parents[1] / ".pytest_cache" / "d" / "reeldex"


def cache_of_a_test(folder: Path) -> Path:
    """Make a cache folder for one test, which shares the converted networks alone; return it.

    Stores of different tests can have one URL, under which a cache has what it knows of them.
    """
    networks = CACHE / "reeldex" / "openvino"
    networks.mkdir(parents=True, exist_ok=True)
    (folder / "reeldex").mkdir(parents=True)
    (folder / "reeldex" / "openvino").symlink_to(networks)
    return folder
