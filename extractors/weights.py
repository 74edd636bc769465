"""Find a network's published weights, fetch them once, verify and load them safely."""

from __future__ import annotations

import hashlib
import re
import socket
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.errors import WeightsError

if TYPE_CHECKING:
    import torch

_NETWORK_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class PretrainedWeights:
    """Where a network's published weights come from. `tag` names them in the feature space.

    `url` is called only when needed: the address may be known to a library that is slow to import. A file name
    such as `resnet152-394f9c45.pth` carries the beginning of its SHA-256, by torchvision's custom.
    """

    tag: str
    url: Callable[[], str]


def cache_folder() -> Path:
    """Return the folder for downloaded weights: the one of PyTorch's hub, moved by TORCH_HOME."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_state(state: Mapping[str, object]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of a state of NumPy arrays, sorted by name."""
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(state):
        array = np.asarray(state[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def file_of(weights: PretrainedWeights, local_path: Path | None = None, folder: Path | None = None) -> Path:
    """Return where the weights lie or would lie: `local_path` if given, else in `folder` or the cache folder."""
    return local_path or (folder or cache_folder()) / weights.url().rsplit("/", 1)[1]


def find_or_fetch(weights: PretrainedWeights, local_path: Path | None = None, folder: Path | None = None) -> Path:
    """Return the file with the weights, downloaded on first use and checked against what its name or mark says.

    Raises WeightsError if it cannot be had or is not what it should be.
    """
    path = file_of(weights, local_path, folder)
    if local_path is not None and not path.is_file():
        raise WeightsError(
            f"There are no weights at {path}, the path given in the configuration (weights.files). "
            "Correct the path, or remove it to have them downloaded."
        )
    if not path.is_file():
        _download(weights.url(), path)
    verify(path)
    return path


def verify(path: Path) -> str:
    """Return the SHA-256 of a weights file after checking it against the one known for it.

    Known is: the beginning in the file's own name (`-394f9c45.pth`), and the mark `<name>.sha256` that a
    download leaves beside the file. Raises WeightsError if either differs.
    """
    found = sha256_of_file(path)
    in_name = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)
    mark = _mark_of(path)
    expected = [in_name[1]] if in_name else []
    if mark.is_file():
        expected.append(mark.read_text().strip())
    for known in expected:
        if not found.startswith(known):
            raise WeightsError(
                f"The weights in {path} are damaged or another file: their SHA-256 is {found}, expected was "
                f"{known}. Delete the file{' and ' + mark.name if mark.is_file() else ''} to have it fetched again."
            )
    return found


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _download(url: str, path: Path) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _socket_timeout(_NETWORK_TIMEOUT_SECONDS):
            # Written beside its target and moved there when complete; checks the hash in the name.
            in_name = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)
            torch.hub.download_url_to_file(url, str(path), in_name[1] if in_name else None, progress=True)
    except (OSError, urllib.error.URLError, RuntimeError) as error:
        raise WeightsError(
            f"The weights {path.name} are not in {path.parent} and could not be fetched from {url}: {error}. "
            f"Fetch them on a machine with internet access and put them at {path}, or try things out with "
            "made-up weights: --weights random."
        ) from error
    if not in_name:
        # Nobody publishes a hash of this file: what came first is what every later use is held against.
        _mark_of(path).write_text(sha256_of_file(path) + "\n")


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # The download routine takes no timeout of its own and would wait for ever on a silent network.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict in a file, read without executing anything from it.

    Raises WeightsError if it holds anything but named tensors.
    """
    import pickle

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise WeightsError(
            f"{path} is no PyTorch checkpoint that can be read safely: {str(error).splitlines()[0]} "
            "Delete it to have it fetched again, or name another file."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no plain state dict (parameter name to tensor). Name another file.")
    return state
