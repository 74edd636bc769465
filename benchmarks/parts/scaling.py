"""Time and memory of `reeldex extract` for 1, 2, 4 and 8 times as many videos: exponents of a fit in logarithms.

1 is proportional, 0 does not grow. Start-up is left out of the time; the memory is that of the largest process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.clips import make_copies
from benchmarks.measuring import Figure, Spread
from benchmarks.parts.published_ratio import extract
from benchmarks.sizes import Size


def exponent(scales: list[int], values: list[float]) -> float:
    """Return b of the best fit a * scale ** b."""
    slope, _ = np.polyfit(np.log(scales), np.log(values), 1)
    return float(slope)


def measure(size: Size, folder: Path) -> Iterator[Figure]:
    """Measure all scales, a run less than others: each is a fit of several points."""
    sources = {}
    for scale in size.scales:
        make_copies(folder / f"clips-{scale}", scale * size.scaled_videos, size.scaled_seconds)
        sources[scale] = folder / f"clips-{scale}"
    if size.warm_up:
        extract(sources[1], folder / "warm")
    times, memory = [], []
    for number in range(max(1, size.runs - 1)):
        worked, peaks = [], []
        for scale in size.scales:
            ran = extract(sources[scale], folder / f"store-{number}-{scale}")
            said = json.loads(ran.out)
            assert said["extracted_ok"] == scale * size.scaled_videos
            worked.append(said["seconds_of_work"])
            peaks.append(float(ran.peak_bytes))
        times.append(exponent(list(size.scales), worked))
        memory.append(exponent(list(size.scales), peaks))
    part = f"scaling over {', '.join(map(str, size.scales))} times as many videos"
    checked = "every video has features"
    yield Figure(part, "time", "exponent", Spread.of(times), checked, "at most", 1.1)
    yield Figure(part, "peak memory", "exponent", Spread.of(memory), checked, "at most", 0.1)
