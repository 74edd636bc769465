"""Pickles and PyTorch files of unknown origin, read without executing anything: the one place that does so."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any

_ASKED_FOR = re.compile(r"\bGLOBAL ([\w.]+)")
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
"""What a pickle that is not intact makes its reader raise, beside OSError and MemoryError."""


class RestrictedUnpickler(pickle.Unpickler):
    """Loads what is admitted by name and refuses everything else before it is imported.

    - `admitted`: (module, name) of what is imported as it is; `stand_ins`: what replaces others.
    - `refuse`: makes the error to raise of a name, such as `os.system`, or of a reference out of the file.
    """

    def __init__(
        self,
        file: IO[bytes],
        admitted: Collection[tuple[str, str]],
        stand_ins: Mapping[tuple[str, str], Any],
        refuse: Callable[[str], Exception],
    ) -> None:
        # Pickles of Python 2 hold their texts as bytes; latin1 keeps NumPy's buffers whole.
        super().__init__(file, encoding="latin1")
        self._admitted = admitted
        self._stand_ins = stand_ins
        self._refuse = refuse

    def find_class(self, module_name: str, global_name: str, /) -> Any:  # noqa: ANN401 - whatever is admitted
        """Return what a name stands for, or raise."""
        if (module_name, global_name) in self._stand_ins:
            return self._stand_ins[module_name, global_name]
        if (module_name, global_name) not in self._admitted:
            raise self._refuse(f"{module_name}.{global_name}")
        return super().find_class(module_name, global_name)

    def persistent_load(self, pid: object) -> Any:  # noqa: ANN401 - it never returns
        """Raise: what is outside of the file cannot be read safely."""
        raise self._refuse(f"an object outside of it ({pid!r:.100})")


def load_torch_file(path: Path, *, mapped: bool = False) -> Any:  # noqa: ANN401 - whatever it holds
    """Return what a PyTorch file holds, read onto the CPU by PyTorch's own restricted reader; `mapped` maps tensors.

    Raises pickle.UnpicklingError when it holds more than tensors in plain containers; of a file that is not intact
    RuntimeError, OSError, or one of `BROKEN_PICKLE`.
    """
    import torch

    with warnings.catch_warnings():
        # torch warns of pickles by other writers before it refuses them; the refusal says enough.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def refused_by_torch(error: BaseException) -> str:
    """Return what PyTorch's restricted reader found, without its advice to read the file unrestricted."""
    if asked := _ASKED_FOR.search(str(error)):
        return f"it asks for {asked[1]}"
    if isinstance(error, pickle.UnpicklingError):
        return "it is not a PyTorch file, or holds more than tensors"
    return first_line(error).rstrip(".")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its name."""
    return (str(error) or type(error).__name__).splitlines()[0]
