"""Classification of errors: retryable infrastructure errors, user errors, internal errors."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from reeldex.errors import InfrastructureError, ReeldexError, UsageError, UserError
from reeldex.storage.errors import StoreUnreadableError

# errno values of transient conditions; other errors need a fix before a retry can succeed.
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
# Beginning of PyTorch's message about a killed DataLoader worker.
_DEAD_READER = "DataLoader worker (pid"
# Libraries' errors for a full or lost device, by name, so that the libraries are not imported for the check.
_DEVICE_ERRORS = ("OutOfMemoryError", "AcceleratorError")
_DEVICE_WORDS = ("CUDA", "cuDNN", "can't allocate memory", "out of memory", _DEAD_READER)


class RunStoppedError(ReeldexError):
    """The user stopped the run. Staged videos are kept for the next run."""


class InternalError(ReeldexError):
    """A bug in reeldex in a worker process; the message ends with its stack trace."""


def is_infrastructure_fault(error: BaseException) -> bool:
    """Whether an error is due to the machine, so that a retry may succeed."""
    if isinstance(error, StoreUnreadableError):
        return error.errno in _PASSING
    if isinstance(error, (MemoryError, OSError)) or type(error).__name__ in _DEVICE_ERRORS:
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _DEVICE_WORDS)


def as_our_error(error: Exception) -> Exception:
    """Return an error as one of reeldex's classes: errors of other libraries may not be picklable.

    UsageError for what the user has to change, InfrastructureError for transient failures, else InternalError;
    RunStoppedError is kept.
    """
    if isinstance(error, (InfrastructureError, InternalError, RunStoppedError)):
        return error
    if is_infrastructure_fault(error):
        return InfrastructureError(f"{type(error).__name__}: {error}")
    if isinstance(error, UserError):
        return UsageError(str(error))
    trace = "".join(traceback.format_exception(error))
    return InternalError(f"{type(error).__name__}: {error}. Please report it with this trace:\n{trace}")


@contextmanager
def infrastructure_errors(what: str, remedy: str) -> Iterator[None]:
    """Convert libraries' errors about exhausted memory or a lost device to InfrastructureError.

    `what` names the operation, `remedy` says what to do. An OSError of a file system, which names its file, is not
    converted.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_infrastructure_fault(error):
            raise
        raise InfrastructureError(f"The machine failed {what}: {type(error).__name__}: {error}. {remedy}") from error
