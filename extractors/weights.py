"""Finds, downloads, verifies and safely loads a network's published weights."""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import os
import re
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.cached_files import publish_text, published
from reeldex.extractors.errors import WeightsError
from reeldex.extractors.file_hashes import sha256_of_file

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_NETWORK_TIMEOUT_SECONDS = 10.0
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.pth$")
OnBytes = Callable[[str, int, int | None], None]
"""Callback for the progress of a download: the file's name, the bytes that have arrived, and their total if known."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PretrainedWeights:
    """The source of a network's published weights. `tag` is their name in the feature space.

    `otherwise` is the alternative if they are not available.

    A file name such as `resnet152-394f9c45.pth` contains a prefix of its SHA-256, by torchvision's convention.
    `cached_as` is its name in the cache, by default that of the address. Raises ValueError for an address without one.
    """

    tag: str
    url: str
    otherwise: str = "use random weights for testing: --weights random"
    cached_as: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https?://[^?#]+/[^/?#]+(?:\?[^#]*)?", self.url):
            raise ValueError(f"weights need an http(s) address that ends with a file name, not {self.url!r}")

    @property
    def file_name(self) -> str:
        """The file's name in the cache."""
        return self.cached_as or self.url.partition("?")[0].rsplit("/", 1)[1]


def has_hash_in_name(file_name: str) -> bool:
    """Whether a file's name contains a prefix of its SHA-256."""
    return _HASH_IN_NAME.search(file_name) is not None


def cache_folder() -> Path:
    """Return the folder for downloaded weights: the one of PyTorch's hub, below TORCH_HOME if it is set.

    By PyTorch's rule, but without importing PyTorch, so that missing weights are reported at once.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


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
    """Return the path of the weights: `local_path`, else a file in `folder` or the cache folder."""
    return local_path or (folder or cache_folder()) / weights.file_name


def find_or_fetch(
    weights: PretrainedWeights,
    local_path: Path | None = None,
    folder: Path | None = None,
    on_bytes: OnBytes = lambda *_: None,
) -> Path:
    """Return the file with the weights, downloaded on first use and checked against the hash in its name or mark.

    `on_bytes` is called during a download with the file's name, the bytes that have arrived, and their total if known.
    Raises WeightsError if it is not available or has another hash.
    """
    path = file_of(weights, local_path, folder)
    if local_path is not None and not path.is_file():
        raise WeightsError(
            f"There are no weights at {path}, the path given in the configuration (weights.files). "
            "Correct the path, or remove it to have them downloaded."
        )
    if not path.is_file():
        _download(weights, path, on_bytes)
    verify(path)
    return path


def verify(path: Path) -> str:
    """Return the SHA-256 of a weights file after checking it against the known hashes.

    Known hashes: the prefix in the file name (`-394f9c45.pth`), and the mark `<name>.sha256` that a
    download writes beside the file. Raises WeightsError if either differs.
    """
    found = sha256_of_file(path)
    in_name = _HASH_IN_NAME.search(path.name)
    mark = _mark_of(path)
    expected = [in_name[1]] if in_name else []
    if mark.is_file():
        marked = mark.read_text(encoding="ascii", errors="replace").strip()
        if not _SHA256.fullmatch(marked):
            raise WeightsError(
                f"{mark} does not contain a SHA-256: it is incomplete, or was edited. Delete it and {path.name} to "
                "download the weights again."
            )
        expected.append(marked)
    for known in expected:
        if not found.startswith(known):
            raise WeightsError(
                f"The weights in {path} are damaged or another file: their SHA-256 is {found}, expected "
                f"{known}. Delete the file{' and ' + mark.name if mark.is_file() else ''} to download it again."
            )
    return found


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _download(weights: PretrainedWeights, path: Path, on_bytes: OnBytes) -> None:
    in_name = _HASH_IN_NAME.search(path.name)
    log.info("Downloading %s to %s", weights.url, path)
    try:
        with published(path) as unfinished:
            found = _fetch(weights.url, unfinished, on_bytes)
            if in_name and not found.startswith(in_name[1]):
                raise OSError(f"the download has the SHA-256 {found}, not {in_name[1]}...")  # noqa: TRY301 - see below
            if not in_name:
                # No hash of this file is published: later uses are checked against the first download.
                publish_text(_mark_of(path), found + "\n")
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(
            f"The weights {path.name} are missing in {path.parent} and could not be downloaded from {weights.url}: "
            f"{error}. Download them on a machine with internet access and copy them to {path}, or {weights.otherwise}."
        ) from error


def _fetch(url: str, path: Path, on_bytes: OnBytes) -> str:
    """Download `url` to `path` and return its SHA-256. Raises OSError or http.client.HTTPException."""
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "reeldex"})  # noqa: S310 - an address of the registry
    with urllib.request.urlopen(request, timeout=_NETWORK_TIMEOUT_SECONDS) as answer, path.open("wb") as file:  # noqa: S310
        length = answer.headers.get("Content-Length")
        total = None if length is None else int(length)
        while block := answer.read(1 << 20):
            digest.update(block)
            file.write(block)
            on_bytes(url.rsplit("/", 1)[1], file.tell(), total)
        # When reading in blocks, Python treats an interrupted connection as the end of the file.
        if total is not None and file.tell() != total:
            raise OSError(f"the connection was interrupted after {file.tell()} of {total} bytes")
    return digest.hexdigest()


def load_state(path: Path, *, mapped: bool = False) -> dict[str, torch.Tensor]:
    """Return the state dict in a file, read without executing anything from it.

    With `mapped`, the tensors are views of the file. Raises WeightsError if it contains anything but named tensors.
    """
    import torch

    from reeldex.untrusted_files import BROKEN_PICKLE, first_line, load_torch_file

    try:
        state = load_torch_file(path, mapped=mapped)
    except (RuntimeError, OSError, *BROKEN_PICKLE) as error:
        # EINVAL results from an offset in the file itself, for example in a truncated file.
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise WeightsError(
                f"{path} cannot be read: {error.strerror}. It is not known to be damaged: check its permissions, the "
                "open files of this process (`ulimit -n`) and its disk."
            ) from error
        raise WeightsError(
            f"{path} is not a PyTorch checkpoint that can be read safely: {first_line(error)} "
            "Delete it to download it again, or name another file."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} does not contain a plain state dict (parameter name to tensor). Name another file.")
    return state
