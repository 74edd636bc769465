"""How much the benchmarks measure: the table of `make bench`, the quick one, and a tiny one that the tests run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """The size of one run of the benchmarks.

    - `runs`: repetitions of each measurement.
    - `clip_seconds`: length of the longest clips; the others are shorter. `clips`: how many, the smallest ones first.
      `real_clips`: whether real ones are taken for the published approach. `short_videos`: how many of 2 seconds.
    - `scales`: multiples of the smallest number of videos, `scaled_videos`; `scaled_seconds`: length of each.
    - `spans`: spans that are read; `stored_videos`: videos of a minute that hold them.
    - `moments`: of the approximate indexes; `dims`: of their vectors; `queries`: that are timed.
    - `embed_dim`: of the embedding whose text tower is timed.
    - `warm_up`: run each extraction once before it is timed; the figures of the tests are not used.
    """

    runs: int
    clip_seconds: float
    short_videos: int
    scales: tuple[int, ...]
    spans: int
    stored_videos: int
    moments: int
    dims: int
    queries: int
    embed_dim: int
    clips: int = 6
    scaled_videos: int = 4
    scaled_seconds: float = 2.0
    real_clips: bool = False
    warm_up: bool = True


SIZES = {
    "full": Size(3, 9.0, 500, (1, 2, 4, 8), 5000, 100, 1_000_000, 256, 200, 6144, real_clips=True),
    "quick": Size(1, 2.0, 60, (1, 2), 2000, 30, 30_000, 256, 100, 6144),
    "tiny": Size(
        1, 0.7, 3, (1, 2), 50, 3, 12_000, 128, 10, 64, clips=1, scaled_videos=1, scaled_seconds=0.5, warm_up=False
    ),
}
