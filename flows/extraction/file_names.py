"""File names as text: they may contain any bytes, and the same accents in two Unicode forms."""

from __future__ import annotations

import os
import unicodedata


def printable(text: str) -> str:
    """Return `text` with bytes that are not UTF-8 escaped by a backslash, for ids and messages."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def composed(text: str) -> str:
    """Return `text` in the Unicode form NFC, in which two spellings of one accented letter are equal."""
    return unicodedata.normalize("NFC", text)


def spelled_as_on_disk(path: str) -> str:
    """Return `path`, or the form of it that exists: without spaces around it, or with accents in another form.

    Lists are often written on another system than the one that named the files. A path without any such file is
    returned without spaces around it.
    """
    stripped = path.strip()
    forms = [path, stripped, *(unicodedata.normalize(form, stripped) for form in ("NFC", "NFD"))]
    return next((form for form in dict.fromkeys(forms) if form and os.path.lexists(form)), stripped)
