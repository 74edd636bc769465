"""Index arithmetic of clips: pure functions, no video needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def clip_count(frame_count: int, frames_per_clip: int) -> int:
    """Return how many clips `frame_count` frames make, an incomplete last one counted."""
    return -(-frame_count // frames_per_clip)


def chunk_frames(frames_per_clip: int, bytes_per_frame: int, max_bytes: int) -> int:
    """Return how many frames to hold at a time: whole clips, at least one, within `max_bytes` if possible."""
    return frames_per_clip * max(1, max_bytes // (frames_per_clip * bytes_per_frame))


def to_clips(frames: NDArray[np.uint8], frames_per_clip: int) -> NDArray[np.uint8]:
    """Cut (N, H, W, 3) uint8 frames into (clips, frames_per_clip, H, W, 3) uint8.

    A last incomplete clip is filled up with black frames, as the published extractor does.
    """
    count = clip_count(len(frames), frames_per_clip)
    missing = count * frames_per_clip - len(frames)
    if missing:
        frames = np.concatenate([frames, np.zeros((missing, *frames.shape[1:]), np.uint8)])
    return frames.reshape(count, frames_per_clip, *frames.shape[1:])
