"""Random weights on disk: generated once per machine, and checked against their hash whenever they are read."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.cached_files import UNUSED_SECONDS, last_used, mark_used, publish_text, published, remove
from reeldex.extractors.errors import WeightsError
from reeldex.extractors.random_weights import random_state
from reeldex.extractors.weights import cache_folder, load_state, sha256_of_state

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

# Part of the file names: incremented whenever `random_state` generates other values.
RANDOM_WEIGHTS_RULE = 1
_OUR_NAME = re.compile(r"random-\w+\.[0-9a-f]{12}\.pth")


def cached_random_state(
    network: str,
    shapes: Mapping[str, tuple[int, ...]],
    branch_gain_suffixes: tuple[str, ...],
    folder: Path | None = None,
) -> tuple[dict[str, torch.Tensor], str]:
    """Return the tensors of `random_state` and their SHA-256, from a file in `folder` or the folder of downloads.

    A missing, damaged or unreadable file is written again; if it cannot be written, this is logged, and the tensors are
    generated again next time. Files that have not been used for 30 days are removed when another one is written.
    """
    import torch

    described = f"{RANDOM_WEIGHTS_RULE} {network} {sorted(shapes.items())} {branch_gain_suffixes}"
    name = f"random-{network}.{hashlib.sha256(described.encode()).hexdigest()[:12]}.pth"
    path = (folder or cache_folder()) / name
    mark = path.with_name(f"{name}.sha256")
    try:
        state = load_state(path, mapped=True)
        found = sha256_of_state({key: value.numpy() for key, value in state.items()})
        if found == mark.read_text(encoding="ascii").strip():
            mark_used(mark)
            return state, found
        log.warning("The random weights in %s are damaged and are generated again.", path)
    except FileNotFoundError:
        pass
    except (WeightsError, OSError) as error:
        # Before they are first used, there is no file, which PyTorch reports as an error of its own.
        if path.exists():
            log.warning("The random weights in %s are generated again: %s", path, error)
    arrays = random_state(network, shapes, branch_gain_suffixes)
    state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    sha256 = sha256_of_state(arrays)
    try:
        _write(state, sha256, path, mark)
    except (OSError, RuntimeError) as error:
        # PyTorch reports a full disk as a RuntimeError.
        log.warning("The random weights are not cached, because %s cannot be written: %s", path, error)
    return state, sha256


def _write(state: Mapping[str, torch.Tensor], sha256: str, path: Path, mark: Path) -> None:
    import torch

    with published(path) as unfinished:
        torch.save(dict(state), unfinished)
    publish_text(mark, sha256 + "\n")
    _remove_unused(path)


def _remove_unused(written: Path) -> None:
    """Remove random weights of earlier rules or networks beside those just written, if unused for UNUSED_SECONDS."""
    oldest = time.time() - UNUSED_SECONDS
    for path in written.parent.glob("random-*.pth"):
        mark = path.with_name(f"{path.name}.sha256")
        if path != written and _OUR_NAME.fullmatch(path.name) and max(map(last_used, (path, mark))) < oldest:
            log.info("Removing random weights that are no longer used: %s", path)
            remove(path, mark)
