"""A shard's job on another machine, which may not see the store or the videos."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.flows.config.pipeline import parse_config
from reeldex.flows.extraction.prepare import prepare
from reeldex.flows.extraction.shard_job import ShardJob
from tests.conftest import MakeVideo

CONFIG = parse_config(
    {
        "extract": {"extractors": ["resnet152"], "weights": "random"},
        "compute": {"device": "cpu"},
        "fetch": {"cache_folder": "c"},
        "weights": {"folder": "w", "files": {"resnet152": "w/net.pth"}},
    },
    "test",
)


@pytest.fixture
def job(tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> ShardJob:
    """The job of a shard of two videos in the store `store` of the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=0.5)
    prepared = prepare("videos", "store", CONFIG)
    prepared.file_new_shards()
    (task,) = prepared.all_tasks
    return ShardJob("store", task.shard, task.spaces, CONFIG, videos=task.videos, file_hashes={(1, 2, 3, 4, 5): "x"})


def test_the_job_names_the_same_files_in_any_folder(job: ShardJob, tmp_path: Path) -> None:
    moved = pickle.loads(pickle.dumps(job.for_another_machine()))  # noqa: S301 - ours
    assert moved.store == str(tmp_path / "store")
    assert moved.config.weights.folder == tmp_path / "w"
    assert moved.config.weights.files == {"resnet152": tmp_path / "w" / "net.pth"}
    assert moved.config.fetch.cache_folder == tmp_path / "c"
    assert moved.seen == str(tmp_path / "videos" / "a.mp4")
    assert moved.file_hashes == {}, "inodes of this machine"
    assert replace(moved, store="store", config=CONFIG, seen=None, file_hashes=job.file_hashes) == job


def test_a_store_in_object_storage_keeps_its_address(job: ShardJob) -> None:
    from reeldex.flows.extraction.same_files import absolute

    assert absolute("s3://bucket/store") == "s3://bucket/store"


def test_a_machine_without_the_store_is_named(job: ShardJob, tmp_path: Path) -> None:
    moved = job.for_another_machine()
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"store, .*/store, does not exist on .*Mount"):
        moved("cpu", lambda _: None)
    assert not (tmp_path / "store").exists()


def test_a_machine_without_the_videos_does_not_record_them_as_missing(job: ShardJob, tmp_path: Path) -> None:
    moved = job.for_another_machine()
    shutil.rmtree(tmp_path / "videos")
    with pytest.raises(UsageError, match=r"a\.mp4 does not exist on .*, but on the machine of the run it does"):
        moved("cpu", lambda _: None)
    assert not list((tmp_path / "store").glob("outcomes/*"))


def test_videos_that_nobody_sees_are_no_fault_of_the_other_machine(job: ShardJob, tmp_path: Path) -> None:
    (tmp_path / "videos" / "a.mp4").unlink()
    assert job.for_another_machine().seen == str(tmp_path / "videos" / "b.mp4")
    (tmp_path / "videos" / "b.mp4").unlink()
    assert job.for_another_machine().seen == ""


def test_a_manifest_that_a_network_file_system_does_not_show_yet_is_waited_for(job: ShardJob, tmp_path: Path) -> None:
    moved = job.for_another_machine()
    for manifest in (tmp_path / "store" / "manifest").iterdir():
        manifest.unlink()
    with pytest.raises(InfrastructureError, match="does not have shard 00000 of 2 videos"):
        moved("cpu", lambda _: None)
