"""Index arithmetic of clips, as pure functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def clip_count(frame_count: int, frames_per_clip: int) -> int:
    """Return the number of clips of `frame_count` frames, including an incomplete last one."""
    return -(-frame_count // frames_per_clip)


def chunk_frames(frames_per_clip: int, bytes_per_frame: int, max_bytes: int) -> int:
    """Return the number of frames per chunk: whole clips, at least one, within `max_bytes` if possible."""
    return frames_per_clip * max(1, max_bytes // (frames_per_clip * bytes_per_frame))


def to_clips(frames: NDArray[np.uint8], frames_per_clip: int) -> NDArray[np.uint8]:
    """Cut (N, H, W, 3) uint8 frames into (clips, frames_per_clip, H, W, 3) uint8.

    An incomplete last clip is padded with black frames, as in the published extractor.
    """
    count = clip_count(len(frames), frames_per_clip)
    missing = count * frames_per_clip - len(frames)
    if missing:
        frames = np.concatenate([frames, np.zeros((missing, *frames.shape[1:]), np.uint8)])
    return frames.reshape(count, frames_per_clip, *frames.shape[1:])
