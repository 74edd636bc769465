"""The closed list of reasons why a video has no features, or incomplete ones. Cheap to import."""

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
