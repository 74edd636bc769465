"""Where tests keep what takes long to make, for all their processes and for later runs."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

# Random weights and converted networks, which take a minute to make and are checked against their hashes whenever they
# are read; and what `made_once` returns, which is not checked. `pytest --cache-clear` removes all.
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


def made_once(name: str, made_from: list[str], make: Callable[[Path], object]) -> Path:
    """Return the file that `make` wrote to the path that it was given, now or in an earlier run.

    Its name ends with `name`; `made_from` is all that its content depends on.
    """
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
    made = CACHE / "made" / f"{key}-{name}"
    made.parent.mkdir(parents=True, exist_ok=True)
    if not made.exists():
        with FileLock(f"{made}.lock"):
            if not made.exists():
                with tempfile.TemporaryDirectory(dir=made.parent) as folder:
                    make(Path(folder) / name)
                    (Path(folder) / name).replace(made)
    return made
