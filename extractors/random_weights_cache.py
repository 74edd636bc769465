"""Random weights on disk: generated once per machine, and checked against their hash whenever they are read."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.extractors.errors import WeightsError
from reeldex.extractors.random_weights import random_state
from reeldex.extractors.weights import cache_folder, load_state, sha256_of_state

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

# Part of the files' names: raised whenever `random_state` comes to mean other numbers.
RANDOM_WEIGHTS_RULE = 1


def cached_random_state(
    network: str,
    shapes: Mapping[str, tuple[int, ...]],
    branch_gain_suffixes: tuple[str, ...],
    folder: Path | None = None,
) -> tuple[dict[str, torch.Tensor], str]:
    """Return the tensors of `random_state` and their SHA-256, from a file in `folder` or the folder of downloads.

    A file that is absent, damaged or unreadable is written anew; one that cannot be written is logged, and costs the
    time to generate the tensors next time.
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
            return state, found
        log.warning("The random weights in %s are damaged; they are generated anew.", path)
    except FileNotFoundError:
        pass
    except (WeightsError, OSError) as error:
        log.warning("The random weights in %s are generated anew: %s", path, error)
    arrays = random_state(network, shapes, branch_gain_suffixes)
    state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    sha256 = sha256_of_state(arrays)
    try:
        _write(state, sha256, path, mark)
    except (OSError, RuntimeError) as error:
        # PyTorch reports a full disk as a RuntimeError.
        log.warning("The random weights are not kept for the next run, as %s cannot be written: %s", path, error)
    return state, sha256


def _write(state: Mapping[str, torch.Tensor], sha256: str, path: Path, mark: Path) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        torch.save(dict(state), unfinished)
        unfinished.replace(path)
        mark.write_text(sha256 + "\n", encoding="ascii")
    finally:
        with contextlib.suppress(OSError):  # moved away by now, or never made
            unfinished.unlink()
