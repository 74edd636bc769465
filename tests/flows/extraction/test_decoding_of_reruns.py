"""A rerun decodes each shard with the options it was planned with; others are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reeldex.errors import UsageError
from reeldex.extractors.options import DecodeOptions, Hwaccel
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.extraction.decoding import with_recorded_decoding
from reeldex.flows.extraction.plan import unfinished
from reeldex.flows.extraction.prepare import prepare, prepare_rerun
from reeldex.storage.errors import FingerprintError, StoreError
from reeldex.storage.manifest import ShardManifest, write_manifest
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.store import FeatureStore


def _config() -> PipelineConfig:
    content = {"extract": {"weights": "random", "extractors": ["resnet152"]}, "compute": {"device": "cpu"}}
    return parse_config(content, "test")


def _planned(folder: Path, shard: int, decode: DecodeOptions, names: tuple[str, ...] = ("resnet152.random",)) -> None:
    """Plan a shard with options of decoding, as a run that is killed before it extracts anything."""
    videos = (VideoEntry(f"video{shard}", str(folder / "absent.mp4"), 1, 1),)
    write_manifest(folder, ShardManifest(shard, videos, names, decode.definition()))


def test_a_rerun_decodes_each_shard_as_it_was_planned(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    planned = (DecodeOptions(tone_map=True, video_track=2), DecodeOptions(tone_map=True, video_track=2))
    for shard, decode in enumerate(planned):
        _planned(store.path, shard, decode)
    prepared = prepare_rerun(str(store.path), _config(), ())
    assert tuple(task.decode for task in prepared.all_tasks) == planned
    assert [prepared.task_of(manifest).decode for manifest in store.manifests()] == list(planned)
    given = _config().model_copy(update={"decode": planned[0]})
    assert prepare_rerun(str(store.path), given, ()).all_tasks == prepared.all_tasks
    other = _config().model_copy(update={"decode": DecodeOptions(square_pixels=True)})
    with pytest.raises(FingerprintError, match=r"Shard 0 .* decode\.tone_map = .* this run has decode\.square_pixels"):
        prepare_rerun(str(store.path), other, ())


def test_an_extraction_does_not_finish_shards_that_were_planned_with_other_options(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(b"not a video")
    store = FeatureStore(tmp_path / "store", create=True)
    mapped = _config().model_copy(update={"decode": DecodeOptions(tone_map=True)})
    first = prepare(str(videos), str(store.path), mapped)
    with store.lock():
        first.file_new_shards()
    assert store.manifests()[0].decode == {"tone_map": "bt709.knee1"}
    with pytest.raises(FingerprintError, match="this run has all options of decoding at their defaults"):
        prepare(str(videos), str(store.path), _config())
    assert [task.shard for task in prepare(str(videos), str(store.path), mapped).all_tasks] == [0]


def test_what_was_extracted_says_how_shards_of_older_releases_are_decoded(tmp_path: Path) -> None:
    """Their manifests do not; here, one of two shards has features."""
    store = FeatureStore(tmp_path / "store", create=True)
    for shard in range(2):
        _planned(store.path, shard, DecodeOptions())
    space = FeatureSpace("resnet152.random", {"decode": {"square_pixels": True}})
    entry = store.manifests()[0].videos[0]
    rows = FeatureRows(np.ones((2, 2048), np.float16), 0.0, 1.0, 2.0, truncated=False, source=entry.path)
    outcome = VideoOutcome(entry.video_id, entry.path, "ok", None, "", attempts=1)
    for publish in (False, True):
        store.staging(0).put(0, outcome, {space: rows})
        if publish:
            store.publish_shard(0, [space], provenance={}, seconds_of_work=0.0)
        tasks = with_recorded_decoding(store, unfinished(store), DecodeOptions())
        assert tasks[-1].shard == 1
        assert {task.decode for task in tasks} == {DecodeOptions(square_pixels=True)}
    both = ("resnet152.random", "resnext101_3d.random")
    _planned(store.path, 2, DecodeOptions(), both)
    assert with_recorded_decoding(store, unfinished(store), DecodeOptions())[-1].decode == tasks[-1].decode
    _planned(store.path, 3, DecodeOptions(tone_map=True), both)
    with pytest.raises(UsageError, match=r"needs resnet152\.random decoded with .*square_pixels.* one extractor"):
        with_recorded_decoding(store, unfinished(store), DecodeOptions())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tone_map": True},
        {"square_pixels": True, "video_track": 3},
        {"hwaccel": "auto"},
        {"hwaccel": "cuda", "tone_map": True},
    ],
)
def test_a_definition_leads_back_to_options_that_define_the_same(options: dict[str, object]) -> None:
    given = DecodeOptions(**options)  # type: ignore[arg-type]
    assert DecodeOptions.of_definition(given.definition()).definition() == given.definition()


def test_a_given_way_of_hardware_decoding_is_kept(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    _planned(store.path, 0, DecodeOptions(hwaccel=Hwaccel.AUTO))
    given = DecodeOptions(hwaccel=Hwaccel.CUDA)
    assert with_recorded_decoding(store, unfinished(store), given)[0].decode == given
    assert with_recorded_decoding(store, unfinished(store), DecodeOptions())[0].decode == DecodeOptions(
        hwaccel=Hwaccel.AUTO
    )


def test_options_of_decoding_of_a_newer_release_are_named(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    videos = (VideoEntry("video", str(tmp_path / "absent.mp4"), 1, 1),)
    write_manifest(store.path, ShardManifest(0, videos, ("resnet152.random",), {"rotate": 90}))
    with pytest.raises(StoreError, match=r"does not know \(decode\.rotate = 90\)"):
        prepare_rerun(str(store.path), _config(), ())
