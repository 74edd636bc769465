"""Seconds of video per second: reeldex's engine against the published method, in one run on the same videos.

python -m benchmarks.throughput

The published script processes videos and networks sequentially, decoding each video once per network, with the whole
video in memory, and with the networks as trained, without folding or channels-last memory.
Both use the same random weights, batch size and number of threads, and the rows are compared.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from reeldex.extractors import ffmpeg
from reeldex.extractors.clips import to_clips
from reeldex.extractors.engine import extract
from reeldex.extractors.frames import VideoFeatures, VideoSource
from reeldex.extractors.network import load_network
from reeldex.extractors.options import EngineOptions, NetworkOptions, WeightsChoice
from reeldex.extractors.preprocess import normalise
from reeldex.extractors.random_weights import random_state
from reeldex.extractors.registry import EXTRACTORS
from reeldex.extractors.runtimes.network import Network, least_cosine
from reeldex.extractors.samples import make_samples


def trained_network(name: str) -> torch.nn.Module:
    """Return a network as published: BatchNorm not folded, contiguous memory."""
    record = EXTRACTORS[name]
    module = record.build().eval()
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    arrays = random_state(name, shapes, record.branch_gain_suffixes)
    module.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()})
    module.fc = torch.nn.Identity()
    return module


def published_method(path: Path, name: str, module: torch.nn.Module, batch_rows: int) -> NDArray[np.float16]:
    """Return the (R, 2048) float16 rows of one video by one network, decoded for this network only."""
    spec = EXTRACTORS[name].spec
    side = spec.short_side_pixels
    scale = f"scale=w='if(gte(ih,iw),{side},trunc(iw*{side}/ih))':h='if(gte(ih,iw),trunc(ih*{side}/iw),{side})'"
    crop = f",crop={side}:{side}:trunc((iw-{side})/2):trunc((ih-{side})/2)" if spec.centre_crop else ""
    graph = f"fps={spec.frames_per_second},{scale}{crop}"
    command = [ffmpeg.executable(), "-v", "error", "-i", f"file:{path}", "-vf", graph, "-f", "image2pipe"]
    raw = subprocess.run(
        [*command, "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"], capture_output=True, check=True
    ).stdout
    header = raw[: raw.index(b"255\n") + 4]
    width, height = (int(number) for number in header.split()[1:3])
    records = np.frombuffer(bytearray(raw), np.uint8).reshape(-1, len(header) + 3 * width * height)
    frames = records[:, len(header) :].reshape(-1, height, width, 3)
    clips = torch.from_numpy(to_clips(frames, spec.frames_per_clip))
    rows = []
    with torch.inference_mode():
        for start in range(0, len(clips), batch_rows):
            batch = normalise(clips[start : start + batch_rows], spec).contiguous()
            rows.append(torch.nn.functional.normalize(module(batch), dim=1).half().numpy())
    return np.concatenate(rows)


def engine_method(paths: list[Path], networks: list[Network]) -> dict[str, VideoFeatures]:
    """Return the features of all videos from the engine."""
    sources = [VideoSource(path.name, str(path)) for path in paths]
    results = extract(sources, networks, EngineOptions())
    return {each.source.video_id: each for each in results if isinstance(each, VideoFeatures)}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        paths = make_samples(Path(folder))
        networks = [
            load_network(name, NetworkOptions(weights=WeightsChoice.RANDOM, device="cpu")) for name in EXTRACTORS
        ]
        modules = {name: trained_network(name) for name in EXTRACTORS}
        engine_method(paths[:1], networks)  # warm-up of both methods
        published_method(paths[0], "resnet152", modules["resnet152"], 2)
        started = time.perf_counter()
        features = engine_method(paths, networks)
        engine_seconds = time.perf_counter() - started
        started = time.perf_counter()
        rows = {
            (path.name, network.spec.name): published_method(path, network.spec.name, modules[network.spec.name], 2)
            for path in paths
            for network in networks
        }
        published_seconds = time.perf_counter() - started
    worst = min(least_cosine(features[video].rows[name], found) for (video, name), found in rows.items())
    seconds_of_video = sum(each.summary.decoded_seconds for each in features.values())
    answer = {
        "seconds_of_video": round(seconds_of_video, 1),
        "engine_speed": round(seconds_of_video / engine_seconds, 2),
        "published_method_speed": round(seconds_of_video / published_seconds, 2),
        "ratio": round(published_seconds / engine_seconds, 2),
        "least_cosine_between_them": round(worst, 6),
    }
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
