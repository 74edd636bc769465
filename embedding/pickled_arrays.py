"""NumPy arrays from untrusted pickles: checks what NumPy itself would trust.

NumPy accepts a dtype as a pickle describes it. Fields beyond the element's end, or objects declared as another type,
make it read arbitrary addresses that the file chooses. Here a dtype is built from its kind and size alone, and a
description with anything else is refused.
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
    """Replaces numpy.dtype while a pickle is read: kind, size and byte order of elements only."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _PLAIN.fullmatch(code):
            raise ValueError(f"it holds an array of elements {code!r:.50}, neither numbers nor strings")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 7:
            raise ValueError("it holds an array whose elements are described as NumPy does not")
        _, byte_order, *structure, size, _ = state[:7]
        if structure != [None, None, None] or size not in (-1, self.dtype.itemsize) or byte_order not in _BYTE_ORDERS:
            raise ValueError(f"it holds an array whose elements are declared to be other than {self.dtype}")
        self.dtype = self.dtype.newbyteorder(byte_order)


class ReadArray(np.ndarray[Any, Any]):
    """An array while its pickle is read; otherwise an ordinary one."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, *content = state
        super().__setstate__((version, shape, _checked(dtype), *content))


def _checked(dtype: object) -> np.dtype[Any]:
    # Arrays that were read earlier reach worker processes with their real dtype.
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
    # Python 2 pickled bytes as str.
    held = content.encode("latin1") if isinstance(content, str) else content
    return np.ndarray((), checked, held)[()]


def _latin1(text: str, encoding: str) -> bytes:
    """Replace _codecs.encode, with which protocol 2 writes bytes: always latin1."""
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
"""Replacements for the names that pickles of arrays and bytes refer to, for an unpickler of untrusted files."""
