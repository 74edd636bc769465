"""The published method's own values, where they lie beside the repository."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.extractors import ffmpeg, resnet152, resnext101
from reeldex.extractors.clips import to_clips
from reeldex.extractors.decode import decode
from reeldex.extractors.engine import extract
from reeldex.extractors.frames import FrameBatch, VideoFeatures, VideoSource
from reeldex.extractors.network import load_network
from reeldex.extractors.options import DecodeLimits, EngineOptions, NetworkOptions
from reeldex.extractors.runtimes.network import Network
from tests.extractors.conftest import RUNTIMES
from tests.extractors.slow_twin import slow_frames

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
GOLDEN = SHARED / "conformance" / "extractors"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden values lie outside this repository")

# The reference takes a rotated video's size before the rotation and so distorts its frames; here they stand upright.
ROTATED = {"nasa_13013_rotated.mp4", "video_90.mov"}
# ffmpeg 5.1, which the reference ran on, counts the priming samples of this file's Opus sound into its start and so
# shifts the picture by 7 ms; later ones do not, and some of the frames at 24 a second are then their neighbours.
SHIFTED = "flipping_a_pancake.mkv"
SPECS = {"2d": resnet152.SPEC, "3d": resnext101.SPEC}


def videos() -> list[str]:
    return sorted(json.loads((GOLDEN / "reference_decode.json").read_text())) if GOLDEN.is_dir() else []


@pytest.fixture(scope="module", params=RUNTIMES)
def networks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    """Both networks with the stand-in weights of the golden values, loaded as a published checkpoint is."""
    formula = _formula_weights()
    folder = tmp_path_factory.mktemp("weights")
    loaded = {}
    for kind, keys in (("2d", "resnet152_keys.json"), ("3d", "resnext101_keys.json")):
        shapes = json.loads((SHARED / "conformance" / keys).read_text())
        state = {name: torch.from_numpy(np.asarray(a)) for name, a in formula.formula_state(shapes, "dev").items()}
        torch.save(state, folder / f"{kind}.pth")
        options = NetworkOptions(
            weights_file=folder / f"{kind}.pth", device="cpu", runtime=request.param, converted_folder=folder
        )
        loaded[kind] = load_network(SPECS[kind].name, options)
    return loaded


def _formula_weights() -> ModuleType:
    spec = importlib.util.spec_from_file_location("formula_weights", SHARED / "conformance" / "formula_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "frames", "features"),
    [
        ("2d", "frames_2d_landscape", "features_2d_landscape"),
        ("2d", "frames_2d_portrait", "features_2d_portrait"),
        ("3d", "frames_3d", "features_3d"),
    ],
)
def test_given_frames_make_the_published_features(
    networks: dict[str, Network], kind: str, frames: str, features: str
) -> None:
    golden = np.load(GOLDEN / "extractors_on_frames.npz")
    clips = to_clips(golden[frames], SPECS[kind].frames_per_clip)
    found = networks[kind].raw_features(clips)
    assert found.shape == golden[features].shape
    assert np.linalg.norm(found - golden[features]) <= 1e-4 * np.linalg.norm(golden[features])


def cosines(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    a, b = first.astype(np.float64), second.astype(np.float64)
    result: np.ndarray[Any, Any] = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return result


@pytest.fixture(scope="module")
def extracted(networks: dict[str, Network]) -> dict[str, VideoFeatures]:
    sources = [VideoSource(name, str(SHARED / "videos" / name)) for name in videos()]
    results = list(extract(sources, list(networks.values()), EngineOptions()))
    assert all(isinstance(result, VideoFeatures) for result in results)
    return {result.source.video_id: result for result in results if isinstance(result, VideoFeatures)}


@pytest.mark.slow
@pytest.mark.parametrize("name", videos())
def test_whole_videos_make_the_published_features(extracted: dict[str, VideoFeatures], name: str) -> None:
    golden = np.load(GOLDEN / f"features_{name}.npz")
    reference = json.loads((GOLDEN / "reference_decode.json").read_text())[name]
    for kind, spec in SPECS.items():
        rows = extracted[name].rows[spec.name]
        assert rows.dtype == np.float16
        assert np.linalg.norm(rows.astype(np.float64), axis=1) == pytest.approx(1, abs=2e-3)
        if reference[kind]["frames"] == 0:
            assert len(rows) == 1, "a video too short to be sampled has a row all the same"
            continue
        wanted = golden[f"features_{kind}"]
        assert len(rows) == len(wanted)
        if name in ROTATED:
            continue
        bound = 0.999 if (name, kind) == (SHIFTED, "3d") and not _shifts_like_the_reference() else 0.9999
        assert cosines(rows, wanted).min() >= bound


@pytest.mark.slow
def test_decoding_errors_are_reported(extracted: dict[str, VideoFeatures]) -> None:
    assert extracted["corrupted.mp4"].summary.error_count > 0
    assert "NAL" in extracted["corrupted.mp4"].summary.first_error
    assert extracted["av1_video.mkv"].summary.error_count == 0


def _hash(frames: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(frames.tobytes()).hexdigest()


def _decoded(name: str) -> dict[str, np.ndarray[Any, Any]]:
    source = VideoSource(name, str(SHARED / "videos" / name))
    parts: dict[str, list[np.ndarray[Any, Any]]] = {spec.name: [] for spec in SPECS.values()}
    for item in decode(source, list(SPECS.values()), DecodeLimits()):
        if isinstance(item, FrameBatch):
            parts[item.extractor].append(item.frames)
    return {kind: np.concatenate(parts[spec.name]) for kind, spec in SPECS.items()}


def _scales_unlike_the_reference() -> bool:
    """Whether this ffmpeg's scaler gives slightly different pixels, as that of 4.2 does; the frames are as many."""
    return ffmpeg.version().startswith("4.")


def _shifts_like_the_reference() -> bool:
    wanted = json.loads((GOLDEN / "reference_decode.json").read_text())[SHIFTED]["3d"]["rgb24_sha256"]
    return _hash(_decoded(SHIFTED)["3d"]) == str(wanted)


@pytest.fixture
def two_cores() -> Iterator[None]:
    """Let ffmpeg count two cores: the pictures of a damaged video depend on its threads, 3 for the reference."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:2])
    yield
    os.sched_setaffinity(0, cores)


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("name", videos())
def test_frames_are_those_of_the_published_extractor(name: str) -> None:
    reference = json.loads((GOLDEN / "reference_decode.json").read_text())[name]
    for kind, frames in _decoded(name).items():
        wanted = reference[kind]
        if name in ROTATED:
            assert frames.shape[1] == frames.shape[2] or frames.shape[1] > frames.shape[2], "upright"
        elif wanted["frames"] == 0:
            assert len(frames) == 1
        else:
            assert frames.shape == (wanted["frames"], wanted["height"], wanted["width"], 3)
            if _scales_unlike_the_reference():
                continue
            if (name, kind) == (SHIFTED, "3d") and not _shifts_like_the_reference():
                shifted = slow_frames(SHARED / "videos" / name, SPECS[kind], 240, 426, shift_seconds=0.007)
                assert _hash(shifted) == wanted["rgb24_sha256"], "nothing but the 7 ms stands between them"
            else:
                assert _hash(frames) == wanted["rgb24_sha256"]
