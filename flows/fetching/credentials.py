"""Credentials for web servers, from the user's netrc file."""

from __future__ import annotations

import netrc
import os
import re
from pathlib import Path

import httpx

from reeldex.errors import UsageError


def netrc_credentials() -> httpx.NetRCAuth | None:
    """Return the credentials of `~/.netrc`, or of the file that NETRC names; None without one. Raises UsageError."""
    file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    if not file.is_file():
        return None
    try:
        return httpx.NetRCAuth(str(file))
    except netrc.NetrcParseError as error:
        # The parser quotes the word that it stumbles over, which may be a password; so does its chain of causes.
        said = re.sub(r" token .*", " token", error.msg, flags=re.DOTALL)
        raise UsageError(_unreadable(file, f"{said}, line {error.lineno}")) from None
    except (OSError, UnicodeError) as error:
        raise UsageError(_unreadable(file, type(error).__name__)) from None


def _unreadable(file: Path, why: str) -> str:
    return f"The credentials in {file} cannot be read: {why}. Correct the file."
