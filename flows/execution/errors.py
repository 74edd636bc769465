"""Classification of errors: retryable infrastructure errors, user errors, internal errors."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reeldex.errors import (
    InfrastructureError,
    PermanentFaultError,
    ReeldexError,
    UnreadableError,
    UsageError,
    UserError,
)
from reeldex.remote_faults import RemoteError, needs_user
from reeldex.storage.system_errors import reason, remedy_for
from reeldex.storage.write_errors import LASTING, lasting_fault

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
        errno.EHOSTUNREACH,
    }
)
_PERMISSIONS = frozenset({errno.EACCES, errno.EPERM})
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
    """Whether an error is due to the machine; `as_our_error` tells those that may pass from those that last."""
    if isinstance(error, UnreadableError):
        return error.errno in _PASSING
    if isinstance(error, (MemoryError, OSError)) or type(error).__name__ in _DEVICE_ERRORS:
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _DEVICE_WORDS)


def _permanent_fault(error: BaseException) -> PermanentFaultError | None:
    """Return a system error that no retry heals as one of reeldex's classes, None for any other error."""
    if not isinstance(error, OSError):
        return None
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    # A damaged installation or a read-only source is not writing: permissions are stated as the system states them.
    if error.errno in _PERMISSIONS or (error.errno in LASTING and named is None):
        return PermanentFaultError(f"{named or 'A file'}: {reason(error)}. {remedy_for(error)}")
    return None if named is None else lasting_fault(Path(named), error)


def as_our_error(error: Exception) -> Exception:
    """Return an error as one of reeldex's classes: errors of other libraries may not be picklable.

    UsageError for what the user has to change, PermanentFaultError for failures that last, InfrastructureError for
    transient ones, else InternalError; RunStoppedError is kept. What an object store refuses to write is an error of
    ours already (`RemoteUnwritableError`): any other error of one says itself what was asked of it.
    """
    if isinstance(error, (InfrastructureError, InternalError, RunStoppedError)):
        return error
    if isinstance(error, RemoteError):
        return PermanentFaultError(str(error)) if needs_user(error) else InfrastructureError(str(error))
    if fault := _permanent_fault(error):
        return fault
    if is_infrastructure_fault(error):
        return InfrastructureError(
            str(error) if isinstance(error, ReeldexError) else f"{type(error).__name__}: {error}"
        )
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
