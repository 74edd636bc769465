"""The question whether a similar name is meant, for errors."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection

_MOST_COMPARED = 50_000


def nearest(name: str, known: Collection[str]) -> str:
    """Return the question whether one of the most similar names is meant, with a space before it; empty if none is."""
    return nearest_of(name, len(known), lambda: known)


def nearest_of(name: str, count: int, known: Callable[[], Collection[str]]) -> str:
    """Return what `nearest` does for `count` names, which are made only if they are few."""
    # Among a million names, looking for a misspelled one would take minutes.
    near = difflib.get_close_matches(name, list(known()), n=3, cutoff=0.6) if count <= _MOST_COMPARED else []
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
