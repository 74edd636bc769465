"""Untrusted pickles and .pth files of data sets, read without executing anything."""

from __future__ import annotations

import pickle
from pathlib import Path

from reeldex.embedding.errors import DatasetError, UnsafePickleError, require_file
from reeldex.embedding.pickled_arrays import STAND_INS
from reeldex.untrusted_files import BROKEN_PICKLE, RestrictedUnpickler, first_line, load_torch_file, refused_by_torch

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


def load_pickle(path: Path) -> object:
    """Read a pickle that holds NumPy arrays, plain containers, strings and numbers, without executing it.

    Arrays may contain booleans, numbers, strings or objects. Raises UnsafePickleError, naming what it refers to, when
    it contains anything else; DatasetError when the file is absent or damaged, and for arrays of other types.
    """
    require_file(path)

    def refuse(named: str) -> UnsafePickleError:
        return UnsafePickleError(
            f"{path} asks for {named}, which a file of features or captions does not need; it was not run, and the "
            "file is refused. Only NumPy arrays, plain containers, strings and numbers are read. Download it from "
            "its publisher again, or convert it to JSON or .pth yourself."
        )

    try:
        with path.open("rb") as file:
            return RestrictedUnpickler(file, _ADMITTED, STAND_INS, refuse).load()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    except (MemoryError, *BROKEN_PICKLE) as error:
        raise DatasetError(
            f"{path} is not an intact pickle: {first_line(error)}. Get it from its publisher again."
        ) from error


def load_pth(path: Path) -> object:
    """Read a .pth file of tensors in plain containers with PyTorch's own restricted reader, onto the CPU.

    Raises UnsafePickleError when it contains anything else, DatasetError when it is absent or not intact.
    """
    require_file(path)
    try:
        return load_torch_file(path)
    except pickle.UnpicklingError as error:
        raise UnsafePickleError(
            f"{path} cannot be read safely: {refused_by_torch(error)}. Nothing of it was executed. Only tensors in "
            "plain containers are read. Get the file from its publisher again."
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    except (RuntimeError, MemoryError, *BROKEN_PICKLE) as error:
        raise DatasetError(
            f"{path} is not an intact PyTorch file: {first_line(error)}. Get it from its publisher again."
        ) from error
