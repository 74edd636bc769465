"""Normalises uint8 clips to a network's input tensor, on their device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from reeldex.extractors.spec import ExtractorSpec


class Normalisation:
    """The normalisation of a spec, with its constants on a device."""

    def __init__(self, spec: ExtractorSpec, device: torch.device | str = "cpu") -> None:
        self._spec = spec
        self._mean = torch.tensor(spec.mean, dtype=torch.float32, device=device)
        self._std = torch.tensor(spec.std, dtype=torch.float32, device=device)

    def __call__(self, clips: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Turn (B, T, H, W, 3) uint8 RGB clips into network input on the same device, computed in float32.

        Returns (B, 3, H, W) if a clip is one frame, else (B, 3, T, H, W); the memory stays channels-last.
        """
        values = ((clips.float() / self._spec.pixel_divisor - self._mean) / self._std).to(dtype)
        if self._spec.frames_per_clip == 1:
            return values.squeeze(1).permute(0, 3, 1, 2)
        return values.permute(0, 4, 1, 2, 3)


def normalise(clips: torch.Tensor, spec: ExtractorSpec) -> torch.Tensor:
    """Return `clips` (B, T, H, W, 3) uint8 as float32 network input; see Normalisation."""
    return Normalisation(spec, clips.device)(clips)
