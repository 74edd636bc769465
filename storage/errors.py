"""Errors of stores; every message says what happened, to what, why, and what to do."""

from __future__ import annotations

from pathlib import Path

from reeldex.errors import InfrastructureError, PermanentFaultError, UnreadableError, UserError


class StoreError(UserError):
    """Base class of all errors of this package."""


class NotAStoreError(StoreError):
    """A folder was opened as a feature store and is not one."""


class StoreBusyError(StoreError):
    """Another process holds the store's lock."""


class ClaimHeldError(StoreBusyError):
    """Another live process holds a claim, such as one on a shard. `holder` names it, and says since when."""

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(f"{what} is claimed by {holder}.")
        self.what, self.holder = what, holder

    def __reduce__(self) -> tuple[type[ClaimHeldError], tuple[str, str]]:
        return ClaimHeldError, (self.what, self.holder)


class ClaimLostError(InfrastructureError):
    """Another process took over a claim, because this one had shown no sign of life. Nothing was changed since."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: another process took it over, because this one had not renewed its claim in time (it was paused, "
            "or its file system did not answer). Nothing was written since. Run it again."
        )
        self.what = what

    def __reduce__(self) -> tuple[type[ClaimLostError], tuple[str]]:
        return ClaimLostError, (self.what,)


class RunLostError(PermanentFaultError):
    """Others took a whole run for dead, and may change the store without waiting for it."""

    def __init__(self, root: Path, work: str) -> None:
        super().__init__(
            f"Another process took this run ({work}) for dead, because it had not renewed its claim on the store "
            f"{root} in time: it was paused, or its file system did not answer. Finished work is kept. Run it again."
        )
        self.root, self.work = root, work

    def __reduce__(self) -> tuple[type[RunLostError], tuple[Path, str]]:
        return RunLostError, (self.root, self.work)


class StoreVanishedError(PermanentFaultError):
    """A store that was there is gone, as when its disk is no longer mounted. Nothing is written in its place.

    `advice` is added to the message.
    """

    def __init__(self, path: Path, advice: str = "") -> None:
        super().__init__(
            f"The store {path} is no longer there: its folder `manifest` has disappeared. Mount its disk, or move the "
            f"store back. {advice}".rstrip()
        )
        self.path, self.advice = path, advice

    def __reduce__(self) -> tuple[type[StoreVanishedError], tuple[Path, str]]:
        return StoreVanishedError, (self.path, self.advice)


class FingerprintError(StoreError):
    """Features of one space were made with settings that differ from the store's."""


class StoreDamagedError(StoreError):
    """The content of a file of the store is not what was written."""


class StoreFileMissingError(StoreDamagedError, FileNotFoundError):
    """A feature file of the store is missing."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is missing. `reeldex rerun` extracts it again, or restore this file from a backup.")
        self.path = path

    def __reduce__(self) -> tuple[type[StoreFileMissingError], tuple[Path]]:
        return StoreFileMissingError, (self.path,)


class StoreUnreadableError(StoreError, UnreadableError):
    """The system does not allow reading a file or folder. It is not known to be damaged; nothing is extracted again.

    `path` is the file, `why` the system's message, `remedy` what to do, `errno` the error number if there is one.
    """

    def __init__(self, path: Path, why: str, remedy: str, errno: int | None = None) -> None:
        message = f"{path} cannot be read: {why}. {remedy} It is not known to be damaged: do not delete it."
        super().__init__(message, errno)
        self.path, self.why, self.remedy = path, why, remedy

    def __reduce__(self) -> tuple[type[StoreUnreadableError], tuple[Path, str, str, int | None]]:
        return StoreUnreadableError, (self.path, self.why, self.remedy, self.errno)


class RemoteStoreError(StoreError):
    """What was asked for needs files on a disk, and this store is in an object store."""


class StagingIncompleteError(StoreError):
    """A shard cannot be published before all its videos are extracted."""


class UnknownVideoError(StoreError, KeyError):
    """A video id has no features: unknown, failed, or not extracted yet."""

    # KeyError would show the message as a quoted literal.
    __str__ = Exception.__str__


class UnknownSpaceError(StoreError, KeyError):
    """The store has no features in the named feature space."""

    __str__ = Exception.__str__
