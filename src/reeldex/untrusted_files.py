"""Reads untrusted pickles and PyTorch files without executing code from them."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any

_ASKED_FOR = re.compile(r"\bGLOBAL ([\w.]+)")
_LONGEST_LINE = 200
BROKEN_PICKLE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
    ArithmeticError,
)
"""Exceptions of the reader of a damaged pickle, besides OSError and MemoryError."""


class RestrictedUnpickler(pickle.Unpickler):
    """Loads only admitted names and refuses everything else before it is imported.

    - `admitted`: (module, name) pairs that are imported; `stand_ins`: replacements for other names.
    - `refuse`: returns the error to raise for a name such as `os.system`, or for a reference outside of the file.
    """

    def __init__(
        self,
        file: IO[bytes],
        admitted: Collection[tuple[str, str]],
        stand_ins: Mapping[tuple[str, str], Any],
        refuse: Callable[[str], Exception],
    ) -> None:
        # Python 2 pickles store strings as bytes; latin1 preserves NumPy buffers.
        super().__init__(file, encoding="latin1")
        self._admitted = admitted
        self._stand_ins = stand_ins
        self._refuse = refuse

    def find_class(self, module_name: str, global_name: str, /) -> Any:  # noqa: ANN401 - whatever is admitted
        """Return the object of an admitted name, or raise."""
        if (module_name, global_name) in self._stand_ins:
            return self._stand_ins[module_name, global_name]
        if (module_name, global_name) not in self._admitted:
            raise self._refuse(f"{module_name:.100}.{global_name:.100}")
        return super().find_class(module_name, global_name)

    def persistent_load(self, pid: object) -> Any:  # noqa: ANN401 - it never returns
        """Raise: references outside of the file cannot be read safely."""
        raise self._refuse(f"an object outside of it ({pid!r:.100})")


def load_torch_file(path: Path, *, mapped: bool = False) -> Any:  # noqa: ANN401 - whatever it holds
    """Return the content of a PyTorch file, read to the CPU by PyTorch's restricted unpickler; `mapped` maps tensors.

    Raises pickle.UnpicklingError when it contains more than tensors in plain containers; for a damaged file
    RuntimeError, OSError, or one of `BROKEN_PICKLE`.
    """
    import torch

    with warnings.catch_warnings():
        # torch warns about pickles of other writers before it refuses them; the error is sufficient.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def refused_by_torch(error: BaseException) -> str:
    """Return the finding of PyTorch's restricted unpickler, without its advice to disable the restriction."""
    if asked := _ASKED_FOR.search(str(error)):
        return f"it asks for {asked[1]:.200}"
    if isinstance(error, pickle.UnpicklingError):
        return "it is not a PyTorch file, or holds more than tensors"
    return first_line(error).rstrip(".")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, shortened, or its name."""
    return (str(error) or type(error).__name__).splitlines()[0][:_LONGEST_LINE]
