"""The closed list of reasons why a video has no features, or incomplete ones; names of notes. Cheap to import."""

from __future__ import annotations

REASONS = (
    "missing",
    "unreadable",
    "no_video_stream",
    "decode_error",
    "truncated",
    "timeout",
    "too_large",
    "duplicate_id",
    "internal_error",
)
"""Every reason an outcome can have; with `truncated` alone the features are kept."""


def note_words(note: str) -> str:
    """Return the name of an outcome's note for people: `timestamps repaired` for timestamps_repaired."""
    return note.replace("_", " ")
