"""OpenVINO's runtime, one per process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino


@functools.cache
def core() -> openvino.Core:
    """Return the runtime of this process, which is kept until the process ends.

    The CPU plugin gives the thread that loads it a signal stack of its own, and frees that memory when it is unloaded.
    If another thread drops the last reference, the first one keeps a stack that is gone, and the next signal that it
    handles, such as the end of a child process, ends the whole process by SIGSEGV.
    """
    import openvino

    return openvino.Core()
