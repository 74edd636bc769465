"""A run is prepared once: one search, one inspection per shard, one hash per file; and again only if need be."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.extractors.errors import WeightsError
from reeldex.extractors.file_hashes import sha256_of_file
from reeldex.flows.config.execution import ExecutionConfig
from reeldex.flows.config.fetching import FetchConfig
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.extraction import sources
from reeldex.flows.extraction.cost import estimate
from reeldex.flows.extraction.hardware import Hardware
from reeldex.flows.extraction.prepare import prepare, prepare_rerun
from reeldex.storage.manifest import ShardManifest, write_manifest
from reeldex.storage.schema import VideoEntry
from reeldex.storage.store import FeatureStore


def _config(**compute: Any) -> PipelineConfig:  # noqa: ANN401 - any setting
    return parse_config(
        {"extract": {"weights": "random", "shard_videos": 1}, "compute": {"device": "cpu", **compute}}, "test"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(name.encode())
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often a folder was searched and a shard inspected. Counted in front of the real functions."""
    counts = {"search": 0, "inspect": 0}

    def counted(owner: Any, name: str, key: str) -> None:  # noqa: ANN401 - a module or class
        real = getattr(owner, name)

        def count(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            counts[key] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, count)

    counted(sources, "find_videos", "search")
    counted(FeatureStore, "inspect", "inspect")
    return counts


def test_everything_is_looked_at_once(folder: Path, calls: dict[str, int]) -> None:
    prepared = prepare(str(folder / "videos"), str(folder / "store"), _config())
    assert prepared.report_if_nothing_to_do() is None
    prepared.renewed().file_new_shards()
    assert calls == {"search": 1, "inspect": 0}
    again = prepare(str(folder / "videos"), str(folder / "store"), _config())
    assert [task.shard for task in again.renewed().all_tasks] == [0, 1]
    assert calls == {"search": 2, "inspect": 2}
    assert [task.shard for task in prepare_rerun(str(folder / "store"), _config(), ()).renewed().all_tasks] == [0, 1]
    assert calls == {"search": 2, "inspect": 4}


def test_a_store_that_has_changed_since_is_planned_again(folder: Path, calls: dict[str, int]) -> None:
    source, store = str(folder / "videos"), str(folder / "store")
    first, second = prepare(source, store, _config()), prepare(source, store, _config())
    first.file_new_shards()
    renewed = second.renewed()
    assert renewed.growth is not None
    assert renewed.growth.new_shards == ()
    assert [task.shard for task in renewed.all_tasks] == [0, 1]
    assert calls["search"] == 2, "the source is not searched again"


def test_a_store_that_another_first_run_creates_meanwhile_is_planned_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, store = str(folder / "videos"), str(folder / "store")

    def run_another(*_: object, **__: object) -> None:
        monkeypatch.undo()
        prepare(source, store, _config()).file_new_shards()

    # The last step before the store is created; hashing weights takes seconds there.
    monkeypatch.setattr("reeldex.flows.extraction.prepare.require_device", run_another)
    renewed = prepare(source, store, _config()).renewed()
    assert renewed.growth is not None
    assert renewed.growth.new_shards == ()
    assert [task.shard for task in renewed.all_tasks] == [0, 1]


def test_an_estimate_creates_nothing_and_needs_no_weights(folder: Path) -> None:
    config = parse_config({"weights": {"folder": str(folder / "none")}}, "test")
    config = config.model_copy(update={"weights": config.weights.model_copy(update={"files": {"resnet152": folder}})})
    prepared = prepare(str(folder / "videos"), str(folder / "store"), config, only_estimate=True)
    assert len(prepared.videos or []) == 2
    with pytest.raises(WeightsError):
        prepare(str(folder / "videos"), str(folder / "store"), config)
    assert not (folder / "store").exists()


def test_the_source_is_checked_first(folder: Path) -> None:
    with pytest.raises(UsageError, match="There is no file or folder"):
        prepare(str(folder / "nothing"), str(folder / "store"), _config(precision="fp16"))


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[object] = []
    real = hashlib.file_digest

    def count(*each: Any) -> Any:  # noqa: ANN401 - passed on
        hashed.append(each)
        return real(*each)

    monkeypatch.setattr(hashlib, "file_digest", count)
    file = tmp_path / "weights.pth"
    file.write_bytes(b"one")
    first = sha256_of_file(file)
    assert sha256_of_file(file) == first
    assert len(hashed) == 1
    file.write_bytes(b"other")
    assert sha256_of_file(file) != first


def test_a_rerun_works_on_each_shard_in_its_own_spaces(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    spaces = (("resnet152.random",), ("resnet152.random", "resnext101_3d.random"))
    for shard, names in enumerate(spaces):
        videos = (VideoEntry(f"video{shard}", str(tmp_path / "absent.mp4"), 1, 1),)
        write_manifest(store.path, ShardManifest(shard, videos, names))
    prepared = prepare_rerun(str(store.path), _config(), ())
    assert tuple(task.spaces for task in prepared.all_tasks) == spaces
    assert tuple(prepared.task_of(manifest).spaces for manifest in prepared.store.manifests()) == spaces


def test_an_extraction_on_a_cpu_records_its_device_without_pytorch() -> None:
    script = (
        "import sys\n"
        "from reeldex.flows.extraction import engine_results\n"
        "assert engine_results._device_name('cpu').startswith('cpu (')\n"
        "assert 'torch' not in sys.modules, 'PyTorch takes seconds to import'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_file_that_is_rewritten_with_its_old_size_and_time_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"one")
    first, status = sha256_of_file(file), file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sha256_of_file(file) != first


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", r"No Ray cluster answers at 127\.0\.0\.1:9 "),
        ("auto", r"pip install -e '\.\[ray\]'"),
        ("local", r"pip install -e '\.\[ray\]'"),
    ],
)
def test_an_engine_that_cannot_work_is_found_before_anything_is_planned(
    folder: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    if address == "127.0.0.1:9":
        pytest.importorskip("ray", reason="the extra `ray` is not installed")
    else:
        monkeypatch.setitem(sys.modules, "ray", None)
    engine = {"engine": "ray", "address": address}
    config = _config().model_copy(update={"execution": ExecutionConfig.model_validate(engine)})
    source, store = str(folder / "videos"), folder / "store"
    with pytest.raises(UsageError, match=said):
        prepare(source, str(store), config)
    assert not store.exists()
    assert prepare(source, str(store), config, only_estimate=True).all_tasks, "an estimate needs no engine"
    prepare(source, str(store), _config()).file_new_shards()
    before = sorted(store.rglob("*"))
    with pytest.raises(UsageError, match=said):
        prepare_rerun(str(store), config, ())
    assert sorted(store.rglob("*")) == before


def test_an_estimate_asks_no_service_about_new_videos(folder: Path) -> None:
    (folder / "list.csv").write_text("path,seconds\nhttp://127.0.0.1:9/a.mp4,60\nhttp://127.0.0.1:9/b.mp4,30\n")
    config = _config().model_copy(update={"fetch": FetchConfig(retries=0)})
    source, store = str(folder / "list.csv"), str(folder / "store")
    prepared = prepare(source, store, config, only_estimate=True)
    assert estimate(prepared, hardware=Hardware(speed=10.0)).videos == 2
    with pytest.raises(UsageError, match="2 videos of the source are at URLs"):
        estimate(prepared)
    with pytest.raises(InfrastructureError, match="cannot be reached"):
        prepare(source, store, config)
