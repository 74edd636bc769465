"""A clip: a part of a video, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Clip:
    """A part of a video, and the captions that describe it.

    `clip_id` is unique within a set; `video_id` names the features; `class_id` is its verb class or -1.
    """

    clip_id: str
    video_id: str
    captions: tuple[str, ...]
    class_id: int = -1
