"""One `reeldex up` for all tests of this package, which ends with the last of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conftest import MakeVideo
from tests.system.browsers import chromium
from tests.system.running import ReeldexUp

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REBOUND = "rebound.example"

PIPELINE = """
extract: {weights: random, extractors: [wide2d], shard_videos: 2}
compute: {device: cpu, retries: 1, retry_delay_seconds: 1.0}
schedules:
  - {name: growing folder, source: growing, store: grown, interval_seconds: 15, settle_seconds: 3.0, when_busy: skip,
     active: false}
  - {name: nightly, source: good, store: night, cron: "0 2 * * *", timezone: Europe/Paris, settle_seconds: 0}
"""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser in which `rebound.example` is this machine, as after DNS rebinding."""
    with chromium(f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1") as browser:
        yield browser


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


class LabStoreRuns(NamedTuple):
    """The ids of the runs of the store `Lab store`, in their order: of four videos, one is broken until it is replaced.

    The broken video has a long name, in folders with long names. `unchosen` retries videos that failed for another
    reason than the broken one.
    """

    extracted: str
    unchosen: str
    retried: str
    verified: str


@pytest.fixture(scope="package")
def lab_store_runs(up: ReeldexUp) -> LabStoreRuns:
    """The runs that several tests check."""
    folder = up.folder / "a_folder_with_a_rather_long_name_without_spaces"
    deep = folder / "and-another-one-of-the-kind-below-it"
    shutil.copytree(up.folder / "mixed", deep)
    broken = (deep / "broken.mp4").rename(deep / ("a_name_of_a_broken_video_" * 6 + ".mp4"))
    shutil.copy(up.folder / "good" / "good 0.mp4", deep / "short.mp4")
    extracted = up.launch("extract/extract", source=str(folder), store="Lab store")
    up.ended(extracted)
    shutil.copy(up.folder / "good" / "good 1.mp4", broken)

    def again(reason: str) -> str:
        run = up.launch("rerun-failed/rerun-failed", store="Lab store", broken_videos=True, reasons=[reason])
        up.ended(run)
        return run

    unchosen, retried = again("timeout"), again("unreadable")
    verified = up.launch("verify/verify", store="Lab store")
    up.ended(verified)
    return LabStoreRuns(extracted, unchosen, retried, verified)
