"""Pickles and .pth files from strangers, read without executing anything."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

from reeldex.embedding.errors import DatasetError, UnsafePickleError
from reeldex.embedding.pickled_arrays import STAND_INS

_NUMPY_SCALARS = ("bool", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_NUMPY_FLOATS = ("float16", "float32", "float64")
_ADMITTED = frozenset(
    {
        *(("numpy", name) for name in _NUMPY_SCALARS + _NUMPY_FLOATS),
        # Containers without behaviour, under the names of Python 2 and 3.
        ("collections", "OrderedDict"),
        *((module, name) for module in ("builtins", "__builtin__") for name in ("set", "frozenset", "complex")),
    }
)
_ASKED_FOR = re.compile(r"\bGLOBAL ([\w.]+)")
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
)


class _RestrictedUnpickler(pickle.Unpickler):
    """Loads what _ADMITTED names and refuses everything else before it is imported."""

    def __init__(self, file: io.BufferedReader, path: Path) -> None:
        # Pickles of Python 2, as the published ones, hold their texts as bytes; latin1 keeps NumPy's buffers whole.
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module_name: str, global_name: str, /) -> Any:  # noqa: ANN401 - whatever is admitted
        if (module_name, global_name) in STAND_INS:
            return STAND_INS[module_name, global_name]
        if (module_name, global_name) not in _ADMITTED:
            raise UnsafePickleError(
                f"{self._path} asks for {module_name}.{global_name}, which a file of features or captions does not "
                "need; it was not run, and the file is refused. Only NumPy arrays, plain containers, strings and "
                "numbers are read. Get the file from its publisher again, or convert it to JSON or .pth yourself."
            )
        return super().find_class(module_name, global_name)

    def persistent_load(self, pid: object) -> Any:  # noqa: ANN401 - it never returns
        raise UnsafePickleError(
            f"{self._path} refers to an object outside of it ({pid!r:.100}), which cannot be read safely."
        )


def load_pickle(path: Path) -> object:
    """Read a pickle that holds NumPy arrays, plain containers, strings and numbers, executing nothing of it.

    Arrays are of booleans, numbers, texts or objects. Raises UnsafePickleError, naming what it asks for, when it holds
    anything else; DatasetError when the file is absent or no intact pickle, and for arrays of other types.
    """
    _require_file(path)
    try:
        with path.open("rb") as file:
            return _RestrictedUnpickler(file, path).load()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    except _BROKEN as error:
        raise DatasetError(
            f"{path} is no intact pickle: {_first_line(error)}. Get it from its publisher again."
        ) from error


def load_pth(path: Path) -> object:
    """Read a .pth file of tensors in plain containers with PyTorch's own restricted reader, onto the CPU.

    Raises UnsafePickleError when it holds anything else, DatasetError when it is absent or not intact.
    """
    import torch

    _require_file(path)
    try:
        with warnings.catch_warnings():
            # torch warns of pickles by other writers before it refuses them; the refusal says enough.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafePickleError(
            f"{path} cannot be read safely: {refused_by_torch(error)}. Nothing of it was executed. Only tensors in "
            "plain containers are read. Get the file from its publisher again."
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    except (RuntimeError, *_BROKEN) as error:
        raise DatasetError(
            f"{path} is no intact PyTorch file: {_first_line(error)}. Get it from its publisher again."
        ) from error


def refused_by_torch(error: BaseException) -> str:
    """Say what PyTorch's restricted reader found, without its advice to read the file unrestricted."""
    if asked := _ASKED_FOR.search(str(error)):
        return f"it asks for {asked[1]}"
    if isinstance(error, pickle.UnpicklingError):
        return "it is no file of PyTorch's, or holds more than tensors"
    return _first_line(error).rstrip(".")


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DatasetError(f"There is no file {path}. Correct the path, or put the file there.")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
