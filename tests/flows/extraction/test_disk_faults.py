"""A full, read-only or vanished disk under a store: one sentence, no further shard, and a rerun that continues."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reeldex.storage.errors import StoreVanishedError
from reeldex.storage.presence import require_present
from reeldex.storage.store import FeatureStore
from reeldex.storage.write_errors import UnwritableError
from tests.conftest import Answer, MakeVideo, Reeldex
from tests.flows.stores import RANDOM
from tests.small_disk import SmallDisk, small_disk
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    yield from small_disk(tmp_path / "disk", 290)


@pytest.fixture
def videos(tmp_path: Path, make_video: MakeVideo) -> Path:
    for at in range(6):
        make_video(tmp_path / "videos" / f"v{at}.mp4", seconds=6.0, size="64x64", rate=5)
    return tmp_path / "videos"


def extract(reeldex: Reeldex, videos: Path, store: Path, *more: object) -> Answer:
    options = (*RANDOM, "--extractors", "wide2d", "--shard-videos", 2, "--device", "cpu")
    return reeldex("extract", videos, "--store", store, *options, *more)


def in_a_process(*arguments: object) -> Answer:
    """Run `reeldex` in a process of its own, so that what its libraries write is seen too."""
    command = [sys.executable, "-m", "reeldex", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


def test_a_full_disk_is_reported_once_and_a_rerun_continues(reeldex: Reeldex, videos: Path, disk: SmallDisk) -> None:
    store = disk.folder / "store"
    answer = extract(in_a_process, videos, store, "--json")
    assert answer.status == 1
    (said,) = re.findall(r"The disk holding \S+ is full: [0-9.]+ k?B?(?:bytes)? free, [^.]*\.?\d* kB", answer.err)
    assert said.startswith(f"The disk holding {store} is full: ")
    assert "this shard needs about" in said
    assert answer.json["ended_by"].startswith(said)
    assert (answer.json["shards_done"], len(answer.json["shards_lost"]), answer.json["shards_left"]) == (1, 1, 1)
    assert "Attempt" not in answer.err
    assert not re.search("h5py|errno|Traceback", answer.err)
    staged = [path for path in (store / "staging").rglob("*.h5") if not path.name.startswith(".")]
    assert staged
    assert list(store.rglob(".publishing-*")) == []

    again = reeldex("rerun", store, "--json")
    assert again.status == 1
    assert again.json["extracted_ok"] == 0, "it fails before the networks are loaded"
    assert "is full" in again.err

    disk.resize(4000)
    rerun = reeldex("rerun", store, "--json")
    assert (rerun.status, rerun.json["shards_done"]) == (0, 2)
    assert rerun.json["extracted_ok"] == 4 - len(staged)
    assert len(FeatureStore(store)) == 6
    assert reeldex("verify", store).status == 0


def test_a_disk_without_any_space_is_reported_before_anything_starts(
    reeldex: Reeldex, videos: Path, disk: SmallDisk
) -> None:
    store = disk.folder / "store"
    FeatureStore(store, create=True)
    with pytest.raises(OSError, match="No space left"):
        (disk.folder / "fill").write_bytes(bytes(400_000))
    answer = extract(reeldex, videos, store)
    assert answer.status == 1
    assert f"The disk holding {store} is full: 0 bytes free" in answer.err
    assert "Traceback" not in answer.err


def test_a_read_only_store_is_reported_before_any_work(reeldex: Reeldex, videos: Path, disk: SmallDisk) -> None:
    store = disk.folder / "store"
    FeatureStore(store, create=True)
    disk.make_read_only()
    answer = extract(reeldex, videos, store)
    assert answer.status == 2, "another path, or another mount"
    assert f"{store} cannot be written: its file system is read-only. Mount it writable" in answer.err
    disk.make_read_only(read_only=False)
    disk.resize(4000)
    assert extract(reeldex, videos, store).status == 0


def test_a_vanished_store_ends_the_run_and_nothing_is_written_in_its_place(
    reeldex: Reeldex, tmp_path: Path, videos: Path, disk: SmallDisk
) -> None:
    disk.resize(4000)
    store = disk.folder / "store"

    def unmount() -> None:
        wait_until(lambda: list(store.glob("features/*/shard-00000.h5")), 60)
        disk.unmount()

    thread = threading.Thread(target=unmount)
    thread.start()
    answer = extract(reeldex, videos, store)
    thread.join()
    assert answer.status == 1
    assert f"The store {store} is no longer there" in answer.err
    assert "Mount its disk" in answer.err
    assert list(disk.folder.iterdir()) == []


def test_no_second_store_is_begun_below_an_empty_mount_point(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    require_present(store.path)
    store.path.rename(tmp_path / "unmounted")
    store.path.mkdir()
    with pytest.raises(StoreVanishedError, match="no longer there"), store.lock():
        pass
    assert list(store.path.iterdir()) == []


def test_a_missing_permission_is_reported_before_any_work(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    (store.path / "features" / "net.v1").mkdir()
    for folder in (store.path, *store.path.rglob("*")):
        folder.chmod(0o777)
    (store.path / "features" / "net.v1").chmod(0o555)
    for parent in store.path.parents:
        # Those that pytest made, one more with pytest-xdist.
        if parent.stat().st_mode & 0o005 != 0o005 and parent.is_relative_to(tempfile.gettempdir()):
            parent.chmod(0o755)
    script = (
        "import os, sys\n"
        "from reeldex.storage.store import FeatureStore\n"
        "store = FeatureStore(sys.argv[1])\n"
        "if os.getuid() == 0:\n"
        "    os.setgid(65534); os.setuid(65534)\n"
        "store.require_writable()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.path)], capture_output=True, text=True, check=False, env=os.environ
    )
    assert f"{store.path}/features/net.v1 cannot be written: Permission denied. Grant this user" in done.stderr
    assert UnwritableError.__name__ in done.stderr
