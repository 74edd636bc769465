"""Seconds of video per second: reeldex's engine against the published method, in one run on the same videos.

python -m benchmarks.throughput

The published script processes videos and networks sequentially, decoding each video once per network, with the whole
video in memory, and with the networks as trained, without folding or channels-last memory.
Both use the same random weights, batch size and number of threads, and the rows are compared.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from benchmarks.published import BATCH_ROWS, published_method, trained_network
from reeldex.extractors.engine import extract
from reeldex.extractors.frames import VideoFeatures, VideoSource
from reeldex.extractors.network import load_network
from reeldex.extractors.options import EngineOptions, NetworkOptions, WeightsChoice
from reeldex.extractors.registry import EXTRACTORS
from reeldex.extractors.runtimes.network import Network, least_cosine
from reeldex.extractors.samples import make_samples


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
        published_method(paths[0], "resnet152", modules["resnet152"], BATCH_ROWS)
        started = time.perf_counter()
        features = engine_method(paths, networks)
        engine_seconds = time.perf_counter() - started
        started = time.perf_counter()
        rows = {
            (path.name, network.spec.name): published_method(
                path, network.spec.name, modules[network.spec.name], BATCH_ROWS
            )
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
