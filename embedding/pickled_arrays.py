"""NumPy's arrays out of untrusted pickles: what NumPy itself would believe unchecked is checked first.

NumPy takes over the description of an array's elements as a pickle states it. Fields beyond an element, or objects that
are declared not to be any, make it read whatever lies at addresses of the file's choice. Here a description is
made of its kind and size alone, and everything else in it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

# Booleans, whole numbers, floats, complex numbers, bytes, texts and objects.
_PLAIN = re.compile(r"[?biufcSUO]\d{0,9}")
_BYTE_ORDERS = ("|", "=", "<", ">")


class ElementType:
    """Stands in for numpy.dtype while a pickle is read: kind, size and byte order of elements, and nothing else."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _PLAIN.fullmatch(code):
            raise ValueError(f"it holds an array of elements {code!r:.50}, neither numbers nor texts")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 7:
            raise ValueError("it holds an array whose elements are described as NumPy does not")
        _, byte_order, *structure, size, _ = state[:7]
        if structure != [None, None, None] or size not in (-1, self.dtype.itemsize) or byte_order not in _BYTE_ORDERS:
            raise ValueError(f"it holds an array whose elements are declared to be other than {self.dtype}")
        self.dtype = self.dtype.newbyteorder(byte_order)


class ReadArray(np.ndarray[Any, Any]):
    """An array as it came out of a pickle; an ordinary one otherwise."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, *content = state
        super().__setstate__((version, shape, _checked(dtype), *content))


def _checked(dtype: object) -> np.dtype[Any]:
    # A worker process gets arrays that were read before with their real type.
    found = dtype.dtype if isinstance(dtype, ElementType) else dtype
    if not isinstance(found, np.dtype):
        raise TypeError(f"an array has elements of {type(found).__name__}")
    return found


def _reconstruct(*_: object) -> ReadArray:
    """Return the empty array that NumPy fills with a pickle's state."""
    return ReadArray(0, np.int8)


def _from_buffer(buffer: bytes, dtype: object, shape: tuple[int, ...], order: Any) -> npt.NDArray[Any]:  # noqa: ANN401
    return np.frombuffer(buffer, _checked(dtype)).reshape(shape, order=order)


def _scalar(dtype: object, content: bytes | str) -> object:
    checked = _checked(dtype)
    if checked.hasobject:
        raise ValueError("it holds an object declared to be a number")
    # Python 2 wrote bytes as what is a text now.
    held = content.encode("latin1") if isinstance(content, str) else content
    return np.ndarray((), checked, held)[()]


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for _codecs.encode, by which protocol 2 writes bytes: always latin1."""
    if encoding not in {"latin1", "latin-1"}:
        raise ValueError(f"bytes are encoded as {encoding!r}, not as latin1")
    return text.encode("latin1")


# `numpy.core` became `numpy._core` in NumPy 2.
_CORES = ("numpy.core", "numpy._core")
STAND_INS: Mapping[tuple[str, str], Any] = MappingProxyType(
    {
        # Only named by pickles, and never called.
        ("numpy", "ndarray"): "numpy.ndarray",
        ("numpy", "dtype"): ElementType,
        ("_codecs", "encode"): _latin1,
        **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in _CORES},
        **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
        **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _CORES},
    }
)
"""What an unpickler that reads untrusted arrays gives for the names by which they and their bytes are pickled."""
