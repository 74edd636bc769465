"""Why a video has no features, or fewer than it should: a closed list, cheap to import."""

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
"""Every reason an outcome can carry; `truncated` is the one that keeps its features."""
