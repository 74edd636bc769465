"""One `reeldex up` for all tests of this package, which ends with the last of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import MakeVideo
from tests.system.running import ReeldexUp

PIPELINE = """
extract: {weights: random, extractors: [wide2d], shard_videos: 2}
compute: {device: cpu, retries: 1, retry_delay_seconds: 1.0}
schedules:
  - {name: growing folder, source: growing, store: grown, interval_seconds: 15, settle_seconds: 3.0, when_busy: skip,
     active: false}
  - {name: nightly, source: good, store: night, cron: "0 2 * * *", timezone: Europe/Paris, settle_seconds: 0}
"""


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> Iterator[ReeldexUp]:
    """`reeldex up` over a folder with `good` videos, `mixed` ones, and `long` ones; `growing` is empty."""
    running = ReeldexUp(tmp_path_factory.mktemp("system"), PIPELINE)
    running.reads_slowly("*long*")
    for index in range(6):
        make_video(running.folder / "good" / f"good {index}.mp4", seconds=0.5)
    for index in range(2):
        make_video(running.folder / "mixed" / f"fine {index}.mp4", seconds=2.0, size="320x240")
        make_video(running.folder / "long" / f"long {index}.mp4", seconds=900, rate=1)
    (running.folder / "mixed" / "broken.mp4").write_text("this is no video\n", encoding="utf-8")
    (running.folder / "growing").mkdir()
    running.start()
    yield running
    assert running.process is not None
    if running.process.poll() is None:
        running.stop()
