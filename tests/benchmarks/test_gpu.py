"""The benchmark for GPUs on a machine without one: what it says, and the parts that run on a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu
from reeldex.extractors.options import Hwaccel
from tests.extractors.conftest import LoadTiny, converted_folder, load_tiny, runtime

__all__ = ["converted_folder", "load_tiny", "runtime"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_cuda_device_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    assert capsys.readouterr().err == "No CUDA device.\n"


def test_clips_are_those_of_a_16_to_9_video() -> None:
    assert gpu.clips_of("resnet152", 2).shape == (2, 1, 224, 398, 3)
    assert gpu.clips_of("resnext101_3d", 2).shape == (2, 16, 112, 112, 3)
    assert gpu.clips_of("resnet152", 2).dtype == np.uint8


@pytest.mark.slow
def test_videos_are_made_decoded_and_extracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_tiny: LoadTiny
) -> None:
    monkeypatch.setattr(gpu, "SIZES", {"tiny": ("160x90", "100k")})
    monkeypatch.setattr(gpu, "default_decoders", lambda _: 2)
    path = gpu.make_video(tmp_path, "tiny", seconds=1)
    assert gpu.decoding_speed(path, 3, 1, Hwaccel.NONE) > 0
    found = gpu.whole_speed(path, 2, 1, Hwaccel.NONE, load_tiny())
    assert found["video_seconds_per_second"] > 0
    assert found["device_busy_percent"] is None or 0 <= found["device_busy_percent"] <= 100
