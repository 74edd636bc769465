"""What can go wrong with a store; every message says what happened, to what, why, and what to do."""

from pathlib import Path

from reeldex.errors import UserError


class StoreError(UserError):
    """Base of every error of this package."""


class NotAStoreError(StoreError):
    """A folder was opened as a feature store and is none."""


class StoreBusyError(StoreError):
    """Another process holds the store's lock."""


class FingerprintError(StoreError):
    """Features of one space were made with settings that differ from the store's."""


class StoreDamagedError(StoreError):
    """A file of the store is not what was once written there."""


class StoreUnreadableError(StoreError):
    """The system does not let us read a file or folder; it is not known to be damaged, and nothing is made again.

    `path` is the file, `why` the system's words, `remedy` what to do, `errno` the system's number if there is one.
    """

    def __init__(self, path: Path, why: str, remedy: str, errno: int | None = None) -> None:
        super().__init__(f"{path} cannot be read: {why}. {remedy} It is not known to be damaged: do not delete it.")
        self.path, self.why, self.remedy, self.errno = path, why, remedy, errno

    def __reduce__(self) -> tuple[type["StoreUnreadableError"], tuple[Path, str, str, int | None]]:
        return StoreUnreadableError, (self.path, self.why, self.remedy, self.errno)


class StagingIncompleteError(StoreError):
    """A shard was to be published while videos of it are still to be extracted."""


class UnknownVideoError(StoreError, KeyError):
    """A video id has no features to give: unknown, failed, or not extracted yet."""

    # KeyError would show the message as a quoted literal.
    __str__ = Exception.__str__


class UnknownSpaceError(StoreError, KeyError):
    """No features are held under the name of this feature space."""

    __str__ = Exception.__str__
