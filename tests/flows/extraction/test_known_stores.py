"""A store that is gone with its disk is not taken for a new one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reeldex.flows.extraction.known_stores import remember_store, require_not_vanished
from reeldex.flows.extraction.prepare import prepare, prepare_rerun
from reeldex.storage.errors import NotAStoreError, StoreVanishedError
from reeldex.storage.store import FeatureStore
from reeldex.user_folders import state_folder
from tests.conftest import Reeldex


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"not a video")
    return tmp_path / "videos"


def unmount(store: Path, *, folder_stays: bool) -> None:
    """Leave what is there without the store's disk: its mount point, or the folder that holds the mount point."""
    shutil.rmtree(store)
    if folder_stays:
        store.mkdir()
    (record,) = state_folder().joinpath("stores").iterdir()
    content = json.loads(record.read_text("utf-8"))
    # Only root can mount a disk: the store was on another one than its path is now.
    record.write_text(json.dumps({**content, "device": content["device"] + 1}), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("folder_stays", [True, False])
def test_an_extraction_does_not_fill_an_empty_mount_point(
    reeldex: Reeldex, videos: Path, tmp_path: Path, *, folder_stays: bool
) -> None:
    store = tmp_path / "mnt" / "store"
    fast = ("--weights", "random", "--extractors", "wide2d")
    assert reeldex("extract", videos, "--store", store, *fast).status == 1
    unmount(store, folder_stays=folder_stays)
    for arguments in (("extract", videos, "--store", store, *fast), ("rerun", store)):
        answer = reeldex(*arguments)
        assert answer.status == 1
        assert "is no longer there" in answer.err
        assert "Mount its disk" in answer.err
    assert not list(store.glob("*"))
    assert reeldex("extract", videos, "--store", store, *fast, "--new-store").status == 1
    assert len(FeatureStore(store).manifests()) == 1


def test_a_store_that_was_deleted_on_its_disk_is_new_unless_a_run_has_had_it(tmp_path: Path, videos: Path) -> None:
    from reeldex.flows.config.pipeline import parse_config

    store = tmp_path / "store"
    config = parse_config({"extract": {"weights": "random"}, "compute": {"device": "cpu"}}, "test")
    prepare(str(videos), str(store), config, retried=True)
    shutil.rmtree(store)
    with pytest.raises(StoreVanishedError, match="start a new run with --new-store"):
        prepare(str(videos), str(store), config, retried=True)
    assert not store.exists()
    prepare(str(videos), str(store), config)
    assert store.exists()
    with pytest.raises(NotAStoreError):
        prepare_rerun(str(tmp_path / "never there"), config, ())


def test_records_that_cannot_be_written_or_read_do_not_matter(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path / "store", create=True).path
    remember_store(store)
    (record,) = state_folder().joinpath("stores").iterdir()
    record.write_text("{")
    shutil.rmtree(store)
    require_not_vanished(store, expected=True)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    FeatureStore(store, create=True)
    remember_store(store)
    assert videos.exists()
