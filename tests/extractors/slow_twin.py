"""The obvious way to sample frames, to hold the fast one against."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from reeldex.extractors import ffmpeg
from reeldex.extractors.spec import ExtractorSpec


def slow_frames(
    path: Path, spec: ExtractorSpec, height: int, width: int, shift_seconds: float = 0.0
) -> np.ndarray[Any, Any]:
    """Decode with a separate ffmpeg into raw bytes, sizes computed in Python; `height`, `width` are upright."""
    scaled_height, scaled_width = spec.scaled_size(height, width)
    graph = f"[0:v:0]setpts=PTS+{shift_seconds}/TB,fps={spec.frames_per_second},scale={scaled_width}:{scaled_height}"
    if spec.centre_crop:
        side = spec.short_side_pixels
        x, y = int((scaled_width - side) / 2), int((scaled_height - side) / 2)
        graph += f",crop={side}:{side}:{x}:{y}"
    output = ["-filter_complex", f"{graph}[o]", "-map", "[o]", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    command = [ffmpeg.executable(), "-v", "error", "-nostdin", "-i", f"file:{path}", *output]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, *spec.input_size(height, width), 3)
