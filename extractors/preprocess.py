"""Normalises uint8 clips to a network's input tensor, on their device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from reeldex.extractors.spec import ExtractorSpec


def normalise(clips: torch.Tensor, spec: ExtractorSpec) -> torch.Tensor:
    """Turn (B, T, H, W, 3) uint8 RGB clips into float32 network input on the same device.

    Returns (B, 3, H, W) if a clip is one frame, else (B, 3, T, H, W); the memory stays channels-last.
    """
    mean = clips.new_tensor(spec.mean, dtype=torch.float32)
    std = clips.new_tensor(spec.std, dtype=torch.float32)
    values = (clips.float() / spec.pixel_divisor - mean) / std
    if spec.frames_per_clip == 1:
        return values.squeeze(1).permute(0, 3, 1, 2)
    return values.permute(0, 4, 1, 2, 3)
