"""The base classes of all errors of reeldex. Imports nothing, and every package may import it."""

from __future__ import annotations


class ReeldexError(Exception):
    """Base of every error of reeldex; the message says what happened, to which input, why, and what to do next."""


class UserError(ReeldexError):
    """The user has to change something before a retry can succeed. The message says what."""


class UsageError(UserError):
    """The command, the configuration or the input cannot be used as given. The message says what to change."""


class UnreadableError(UserError):
    """The system does not allow reading a file: permissions, limits, a disk. The file may be intact.

    `errno` is the error number if there is one: it tells whether the user or the machine is at fault.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno

    def __reduce__(self) -> tuple[type[UnreadableError], tuple[object, ...]]:
        return type(self), (str(self), self.errno)


class InfrastructureError(ReeldexError):
    """A failure of the machine: a process died, memory ran out, a device was lost. A retry may succeed."""


class PermanentFaultError(InfrastructureError):
    """A failure of the machine that lasts until a person removes its cause; it is not retried, and ends the run.

    A full disk, a read-only file system, missing permission, a vanished store.
    """


class DeviceError(UserError):
    """The requested device or precision is not available on this machine."""
