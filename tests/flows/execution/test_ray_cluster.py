"""Runs on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.flows.execution.ray_nodes import RayNodes, ray_nodes
from tests.flows.stores import outcomes
from tests.processes import processes_that_name
from tests.slow_reading import path_with_slow_ffmpeg
from tests.waiting import wait_until

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow

HEAD, OTHER = "127.0.0.2", "127.0.0.3"
SETTINGS = ("--weights", "random", "--extractors", "wide2d", "--shard-videos", "2", "--no-server")
SPACE = "wide2d.random"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    """Two nodes, where a shard takes some seconds."""
    path = path_with_slow_ffmpeg(tmp_path_factory.mktemp("ffmpeg"), "*", 2.0)
    with ray_nodes(HEAD, OTHER, path=path) as found:
        yield found


@pytest.fixture
def nodes(cluster: RayNodes) -> Iterator[RayNodes]:
    """Both nodes, also after a test that has killed one; the programs of the test end with it."""
    cluster.restore(HEAD, OTHER)
    yield cluster
    for program in cluster.programs:
        program.kill()
        program.communicate()
    cluster.programs.clear()


@pytest.fixture
def videos(tmp_path: Path, make_video: MakeVideo) -> Path:
    """Eleven videos, one of them broken: six shards."""
    folder = tmp_path / "videos"
    for index in range(10):
        make_video(folder / f"{index:02d}.mp4", seconds=6.0 + index % 3, size=("160x120", "96x128")[index % 2])
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


class Extraction:
    """`reeldex extract` on the cluster, in a process of its own; `log` is what it has written to standard error."""

    def __init__(self, nodes: RayNodes, videos: Path, store: Path, *options: str) -> None:
        self._log = store.with_name(f"{store.name}.log")
        command = [sys.executable, "-m", "reeldex", "extract", str(videos), "--store", str(store), *SETTINGS, "--json"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--engine", "ray", "--ray-address", nodes.address, *options],
                stdout=subprocess.PIPE,
                stderr=log,
                env=nodes.environment,
                text=True,
            )
        nodes.programs.append(self.process)

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def said(self, text: str) -> None:
        """Wait until the log holds a text."""
        wait_until(lambda: text in self.log, 240, process=self.process, details=lambda: self.log)

    def ended(self, status: int) -> str:
        """Wait for the end, and return standard output."""
        out, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == status, self.log
        return out


def being_read(videos: Path) -> list[int]:
    """Return the ids of processes that read one of these videos: the command itself names their folder alone."""
    return processes_that_name(f"{videos}/long ")


def rows(store: Path) -> dict[str, bytes]:
    opened = FeatureStore(store)
    return {video_id: opened.read(SPACE, video_id).tobytes() for video_id in opened.ids(SPACE)}


def test_the_shards_of_a_killed_node_restart_on_the_other_and_the_bytes_are_those_of_one_machine(
    nodes: RayNodes, videos: Path, tmp_path: Path
) -> None:
    local = [sys.executable, "-m", "reeldex", "extract", str(videos), "--store", str(tmp_path / "local"), *SETTINGS]
    assert subprocess.run(local, check=False, stderr=subprocess.PIPE, timeout=300).returncode == 1
    delay = ("--set", "compute.retry_delay_seconds=0.5")
    extraction = Extraction(nodes, videos, tmp_path / "store", *delay)
    extraction.said(f"{OTHER} worker 0: Shard ")
    nodes.kill(OTHER)
    report = json.loads(extraction.ended(1))  # a video is broken
    # Ray may notice the end of the worker before that of its node.
    assert re.search(rf"The (node {OTHER}|{OTHER} worker 0) died", extraction.log), extraction.log
    assert (report["shards_done"], report["extracted_ok"], report["extracted_failed"]) == (6, 10, 1)
    assert outcomes(tmp_path / "store") == outcomes(tmp_path / "local")
    assert len(outcomes(tmp_path / "store")) == 11
    assert rows(tmp_path / "store") == rows(tmp_path / "local")
    assert len(rows(tmp_path / "store")) == 10
    assert FeatureStore(tmp_path / "store").verify().damages == ()


def test_ctrl_c_ends_the_workers_and_their_ffmpeg_and_leaves_the_cluster(
    nodes: RayNodes, tmp_path: Path, make_video: MakeVideo
) -> None:
    videos = tmp_path / "videos"
    for index in range(4):
        make_video(videos / f"long {index}.mp4", seconds=600, rate=1)
    before = nodes.daemons()
    assert len(before) == 3, "raylet on both nodes, gcs_server on one"
    for number in (signal.SIGINT, signal.SIGKILL):
        extraction = Extraction(nodes, videos, tmp_path / "store")
        wait_until(lambda: bool(being_read(videos)), 120, process=extraction.process)
        os.kill(extraction.process.pid, number)
        extraction.ended(130 if number == signal.SIGINT else -signal.SIGKILL)
        wait_until(lambda: not processes_that_name(str(videos)), 30)
        assert number != signal.SIGINT or "Finished work is kept" in extraction.log
    assert nodes.daemons() == before, "the cluster goes on"


def test_the_loss_of_the_head_node_ends_the_run_in_words(
    nodes: RayNodes, tmp_path: Path, make_video: MakeVideo
) -> None:
    videos = tmp_path / "videos"
    for index in range(2):
        make_video(videos / f"long {index}.mp4", seconds=600, rate=1)
    extraction = Extraction(nodes, videos, tmp_path / "store")
    wait_until(lambda: bool(being_read(videos)), 120, process=extraction.process)
    nodes.kill(HEAD)
    extraction.ended(1)
    assert re.search(r"The head node of the Ray cluster \(.*\) has not answered for 20 s: ", extraction.log)
    assert "Finished work is kept. Start Ray again on all nodes, then run it again." in extraction.log
