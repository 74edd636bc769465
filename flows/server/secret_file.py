"""The secret of this user's servers: one file that only this user can read."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import uuid
from pathlib import Path

from filelock import FileLock

from reeldex.errors import UsageError
from reeldex.user_folders import make_writable, state_folder

# Environment variable with the value that Prefect's clients send to a server.
CLIENT_VARIABLE = "PREFECT_API_AUTH_STRING"
# The value that Prefect's own check compares with.
SERVER_VARIABLE = "PREFECT_SERVER_API_AUTH_STRING"
# Errors of file systems without hard links: FAT and exFAT, network shares, FUSE.
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_FORM = re.compile(r"reeldex:[A-Za-z0-9_-]{32,}")


def secret_file() -> Path:
    """Return where the secret is stored."""
    return state_folder() / "server-secret"


def new_secret() -> str:
    """Return a random secret of 256 bits, of the form `user:password` that Prefect and HTTP clients expect."""
    return f"reeldex:{secrets.token_urlsafe(32)}"


def load_or_make_secret(path: Path) -> str:
    """Return the secret in `path`, creating the file if absent. Raises UsageError if others could read the file."""
    while True:
        try:
            return load_secret(path)
        except FileNotFoundError:
            _publish_secret(path, new_secret())


def load_secret(path: Path) -> str:
    """Return the secret in `path`. Raises FileNotFoundError; UsageError if others could read or have written it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"The secret {path} cannot be opened: {error.strerror}. {_NEW_ONE}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise UsageError(f"The secret {path} is not owned by you. {_NEW_ONE}")
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise UsageError(f"The secret {path} has mode {mode:o}: others may have read it. {_NEW_ONE}")
        text = os.read(descriptor, 1000).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)
    if not _FORM.fullmatch(text):
        raise UsageError(f"The secret {path} is damaged: expected `reeldex:` and 32 or more characters. {_NEW_ONE}")
    return text


_NEW_ONE = "Remove it; the next `reeldex up` creates a new one, and browsers then need the address that it prints."


def _publish_secret(path: Path, secret: str) -> None:
    make_writable(path.parent, "XDG_STATE_HOME")
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        # The file is created with this mode; a umask can only remove permissions.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):  # another process created one meanwhile, which is used
            _rename_without_replacing(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _rename_without_replacing(source: Path, target: Path) -> None:
    """Give a file its final name. Raises FileExistsError if that name is taken."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # A plain rename would replace the secret of another process; a lock makes check and rename exclusive.
        with FileLock(target.with_name(f".{target.name}.lock"), mode=0o600):
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
            source.rename(target)
