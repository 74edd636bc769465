"""RGB by way of planes, where the scaled width is odd, is the RGB of the plain scaler, in every bit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from reeldex.extractors import ffmpeg
from reeldex.extractors.decode import decode
from reeldex.extractors.frames import FrameBatch, VideoSource
from reeldex.extractors.options import DecodeLimits
from reeldex.extractors.registry import EXTRACTORS
from reeldex.extractors.spec import ExtractorSpec
from tests.videos import cached_video

SPECS = [record.spec for record in EXTRACTORS.values()]


def plainly(path: Path, spec: ExtractorSpec, height: int, width: int) -> bytes:
    """The frames of a video at the network's rate, without any of our filters but `scale` and `crop`."""
    scaled_height, scaled_width = spec.scaled_size(height, width)
    side = spec.short_side_pixels
    crop = f",crop={side}:{side}:{(scaled_width - side) // 2}:{(scaled_height - side) // 2}" if spec.centre_crop else ""
    graph = f"fps={spec.frames_per_second},scale={scaled_width}:{scaled_height}{crop}"
    command = [ffmpeg.executable(), "-v", "error", "-nostdin", "-i", str(path), "-vf", graph]
    raw = [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    return subprocess.run(raw, capture_output=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p10le", "yuv444p"])
@pytest.mark.parametrize(
    ("width", "height", "odd"),
    [
        (640, 360, {"resnext101_3d"}),  # 398 and 199 wide
        (322, 240, set()),  # 300 and 150
        (334, 252, set()),  # 296 and 148
        (360, 640, set()),  # upright: 224 and 112
        (446, 336, {"resnet152"}),  # 297 and 148
    ],
)
def test_frames_are_those_of_the_plain_scaler(
    tmp_path: Path, pixel_format: str, width: int, height: int, odd: set[str]
) -> None:
    assert {spec.name for spec in SPECS if spec.scaled_size(height, width)[1] % 2} == odd
    source = f"testsrc2=size={width}x{height}:rate=24:duration=1,noise=alls=40:allf=t"
    options = ["-pix_fmt", pixel_format, "-c:v", "libx264", "-preset", "ultrafast"]
    path = cached_video(tmp_path / "noise.mp4", "-f", "lavfi", "-i", source, *options)
    frames: dict[str, list[np.ndarray]] = {spec.name: [] for spec in SPECS}
    for item in decode(VideoSource("noise", str(path)), SPECS, DecodeLimits()):
        if isinstance(item, FrameBatch):
            frames[item.extractor].append(item.frames)
    for spec in SPECS:
        assert np.concatenate(frames[spec.name]).tobytes() == plainly(path, spec, height, width), spec.name
