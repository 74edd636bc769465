"""`reeldex extract` of videos at URLs: the same bytes as of the files, an outcome for each, and reruns as of files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo, Reeldex
from tests.flows.fetching.web_server import Page, Site, always, cut_after, dripping, first, for_content
from tests.flows.stores import RANDOM
from tests.object_store import ObjectStore, client
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SPACE = "wide2d.random"
OPTIONS = (*RANDOM, "--extractors", "wide2d", "--device", "cpu")


@pytest.fixture
def videos(tmp_path: Path, make_video: MakeVideo) -> dict[str, Path]:
    return {
        name: make_video(tmp_path / "local" / f"{name}.mp4", seconds=seconds)
        for name, seconds in (("a", 1.2), ("b", 0.6), ("c", 0.4))
    }


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    """Write a pipeline.yaml with options of `fetch`."""

    def write(**changes: object) -> Path:
        values = {"cache_folder": str(tmp_path / "cache"), "retry_delay_seconds": 0.01, "retries": 2, **changes}
        path = tmp_path / "pipeline.yaml"
        path.write_text(json.dumps({"fetch": values, "compute": {"retries": 0}}), encoding="utf-8")
        return path

    return write


def rows(store: Path) -> dict[str, bytes]:
    opened = FeatureStore(store)
    return {each: opened.read(SPACE, each).tobytes() for each in opened.ids(SPACE)}


def outcomes(store: Path) -> dict[str, tuple[str, str | None, str]]:
    opened = FeatureStore(store)
    found: dict[str, tuple[str, str | None, str]] = {}
    for manifest in opened.manifests():
        shard = opened.outcomes(manifest.shard)
        assert shard is not None
        found |= {each.path: (each.status, each.reason, each.message) for each in shard.videos}
    return found


def test_a_bucket_and_a_list_give_the_features_of_the_files(  # noqa: PLR0917 - fixtures
    reeldex: Reeldex,
    s3: ObjectStore,
    web: Site,
    videos: dict[str, Path],
    settings: Callable[..., Path],
    tmp_path: Path,
) -> None:
    for name, path in videos.items():
        client(s3).put_object(Bucket="lab", Key=f"v/{name}.mp4", Body=path.read_bytes())
        web.pages[f"/{name}.mp4"] = Page(path.read_bytes())
    web.pages["/b.mp4"].answer = first(1, cut_after(3000))
    web.pages["/c.mp4"].answer = first(1, always(503))
    rows_of_list = [web.url("/a.mp4"), web.url("/b.mp4"), web.url("/c.mp4"), web.url("/gone.mp4")]
    (tmp_path / "list.txt").write_text("\n".join(rows_of_list), encoding="utf-8")
    config = settings()
    stores = {name: tmp_path / name for name in ("files", "bucket", "web")}
    assert reeldex("extract", tmp_path / "local", "--store", stores["files"], *OPTIONS).status == 0
    answer = reeldex("extract", "s3://lab/v", "--store", stores["bucket"], *OPTIONS, "--config", config)
    assert (answer.status, "waiting for frames" in answer.out) == (0, True), answer
    answer = reeldex("extract", tmp_path / "list.txt", "--store", stores["web"], *OPTIONS, "--config", config, "--json")
    assert answer.status == 1
    assert answer.json["failed_by_reason"] == {"missing": 1}
    assert answer.json["fetching_seconds"] > 0
    assert rows(stores["bucket"]) == rows(stores["web"]) == rows(stores["files"])
    assert outcomes(stores["web"])[web.url("/gone.mp4")][1] == "missing"
    assert list((tmp_path / "cache").iterdir()) == []
    # Nothing is fetched again, until something changes or has failed.
    web.requests.clear()
    again = ("extract", tmp_path / "list.txt", "--store", stores["web"], *OPTIONS, "--config", config, "--json")
    assert reeldex(*again).json["unchanged"] == 4
    assert {each.split()[0] for each in web.requests if "gone" not in each} == {"HEAD"}
    web.pages["/gone.mp4"] = web.pages["/a.mp4"]
    web.pages["/a.mp4"] = Page(videos["b"].read_bytes())
    answer = reeldex(*again)
    assert (answer.status, answer.json["changed"], answer.json["unchanged"]) == (0, 2, 2), answer
    found = rows(stores["web"])
    assert found["a"] == found["b"]
    del web.pages["/b.mp4"]
    answer = reeldex(*again)
    assert answer.json["unchanged"] == 4, "a video that is gone keeps its features"


def test_faults_are_outcomes_and_a_rerun_tries_them_again(
    reeldex: Reeldex, web: Site, videos: dict[str, Path], settings: Callable[..., Path], tmp_path: Path
) -> None:
    content = videos["a"].read_bytes()
    web.pages |= {
        "/good.mp4": Page(content),
        "/page.mp4": Page(b"<!DOCTYPE html><html>Please sign in</html>"),
        "/denied.mp4": Page(content, for_content(always(403))),
        "/short.mp4": Page(content, for_content(cut_after(3000)), ranges=False),
        "/slow.mp4": Page(content, for_content(dripping)),
        "/large.mp4": Page(content + bytes(2_000_000)),
    }
    (tmp_path / "list.csv").write_text(
        "path\n" + "\n".join(web.url(name) for name in web.pages) + "\n", encoding="utf-8"
    )
    config = settings(max_video_bytes=1_500_000, timeout_seconds=2)
    store = tmp_path / "store"
    answer = reeldex("extract", tmp_path / "list.csv", "--store", store, *OPTIONS, "--config", config)
    assert answer.status == 1, answer
    found = {Path(path).name: outcome for path, outcome in outcomes(store).items()}
    assert {name: outcome[1] for name, outcome in found.items()} == {
        "good.mp4": None,
        "page.mp4": "unreadable",
        "denied.mp4": "unreadable",
        "short.mp4": "unreadable",
        "slow.mp4": "timeout",
        "large.mp4": "too_large",
    }
    assert f"3,000 of {len(content):,} bytes arrived" in found["short.mp4"][2]
    assert str(tmp_path / "cache") not in json.dumps(found), "outcomes are about videos, not about our copies"
    for name in ("/denied.mp4", "/short.mp4", "/slow.mp4"):
        web.pages[name].answer = None
    answer = reeldex(
        "rerun", store, "--failed-videos", "--device", "cpu", "--config", config, "--max-video-bytes", 10_000_000
    )
    assert answer.status == 1, answer
    assert {Path(path).name for path, outcome in outcomes(store).items() if outcome[0] == "failed"} == {"page.mp4"}


def test_clips_of_one_video_fetch_it_once(
    reeldex: Reeldex, web: Site, videos: dict[str, Path], settings: Callable[..., Path], tmp_path: Path
) -> None:
    web.pages["/a.mp4"] = Page(videos["a"].read_bytes())
    url = web.url("/a.mp4")
    (tmp_path / "l.csv").write_text(f"path,start,end\n{url},0,0.5\n{url},0.5,1\n", encoding="utf-8")
    answer = reeldex(
        "extract", tmp_path / "l.csv", "--store", tmp_path / "store", *OPTIONS, "--config", settings(), "--cache-bytes",
        2_000_000, "--max-video-bytes", 2_000_000,
    )  # fmt: skip
    assert answer.status == 0, answer
    assert len(web.gets("/a.mp4")) == 1


def test_a_service_that_fails_loses_shards_and_no_video(
    reeldex: Reeldex, web: Site, videos: dict[str, Path], settings: Callable[..., Path], tmp_path: Path
) -> None:
    web.pages["/a.mp4"] = Page(videos["a"].read_bytes(), for_content(always(503)))
    (tmp_path / "l.txt").write_text(web.url("/a.mp4"), encoding="utf-8")
    store = tmp_path / "store"
    command = ("extract", tmp_path / "l.txt", "--store", store, *OPTIONS, "--config", settings())
    answer = reeldex(*command)
    assert answer.status == 1
    assert "the server answers 503 Service Unavailable" in answer.err + answer.out
    assert outcomes_left(store) == []
    web.pages["/a.mp4"].answer = None
    assert reeldex(*command).status == 0


def outcomes_left(store: Path) -> list[str]:
    return [each.name for each in (store / "outcomes").iterdir()]


def test_a_killed_run_leaves_nothing_that_the_next_takes_for_a_video(
    reeldex: Reeldex, web: Site, videos: dict[str, Path], settings: Callable[..., Path], tmp_path: Path
) -> None:
    content = videos["a"].read_bytes()
    web.pages["/a.mp4"] = Page(content, for_content(dripping))
    (tmp_path / "l.txt").write_text(web.url("/a.mp4"), encoding="utf-8")
    config, store = settings(), tmp_path / "store"
    command = ["extract", str(tmp_path / "l.txt"), "--store", str(store), *OPTIONS, "--config", str(config)]
    process = subprocess.Popen(
        [sys.executable, "-m", "reeldex", *command], env=dict(os.environ), start_new_session=True
    )
    try:
        cached = tmp_path / "cache"
        wait_until(lambda: any(cached.rglob("*.mp4")), 120, process=process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    web.pages["/a.mp4"].answer = None
    wait_until(lambda: reeldex(*command, "--wait", 60).status == 0, 60)
    assert list(cached.iterdir()) == []
    assert len(rows(store)["a"]) > 0
