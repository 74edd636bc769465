"""Errors told apart by who can mend them."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from reeldex.errors import InfrastructureError, ReeldexError, UsageError, UserError
from reeldex.storage.errors import StoreUnreadableError

# What the system says while something lasts that may pass by itself; of other errors somebody has to mend the cause.
_PASSING = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EAGAIN,
        errno.EDEADLK,
        errno.ENOLCK,
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENXIO,
        errno.ENODEV,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
    }
)
# How PyTorch begins to tell of a process that read samples and was killed.
_DEAD_READER = "DataLoader worker (pid"
# What libraries raise, by name, so that they need not be imported to ask: a full or lost device.
_DEVICE_ERRORS = ("OutOfMemoryError", "AcceleratorError")
_DEVICE_WORDS = ("CUDA", "cuDNN", "can't allocate memory", "out of memory", _DEAD_READER)


class RunStoppedError(ReeldexError):
    """The user stopped the run. What was staged stays for the next one."""


class InternalError(ReeldexError):
    """A fault of reeldex itself in a worker process; the message ends with its stack trace."""


def is_infrastructure_fault(error: BaseException) -> bool:
    """Whether an error means that the machine failed, so that the same work may go well later."""
    if isinstance(error, StoreUnreadableError):
        return error.errno in _PASSING
    if isinstance(error, (MemoryError, OSError)) or type(error).__name__ in _DEVICE_ERRORS:
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _DEVICE_WORDS)


def as_our_error(error: Exception) -> Exception:
    """Return an error as one of our own kinds: another library's error may not survive pickling.

    UsageError for what the user has to change, InfrastructureError for what may pass, else InternalError.
    """
    if is_infrastructure_fault(error):
        return InfrastructureError(f"{type(error).__name__}: {error}")
    if isinstance(error, UserError):
        return UsageError(str(error))
    trace = "".join(traceback.format_exception(error))
    return InternalError(f"{type(error).__name__}: {error}. Please report it with this trace:\n{trace}")


@contextmanager
def infrastructure_errors(what: str, remedy: str) -> Iterator[None]:
    """Turn what libraries raise of memory that is full or a device that is lost into InfrastructureError.

    `what` is what was going on, `remedy` what to do. A disk's OSError, which names its file, is passed on as it is.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_infrastructure_fault(error):
            raise
        raise InfrastructureError(f"The machine failed {what}: {type(error).__name__}: {error}. {remedy}") from error
