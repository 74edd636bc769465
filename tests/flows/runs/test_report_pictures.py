"""Pictures in a run's report are made within the limits of the configuration."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from reeldex.extractors.options import DecodeLimits, DecodeOptions
from reeldex.flows.runs import artifacts
from reeldex.flows.runs.artifacts import pictures_of
from reeldex.storage.manifest import ShardManifest, write_manifest
from reeldex.storage.outcomes import FileRecord, ShardOutcomes, write_outcomes
from reeldex.storage.schema import VideoEntry, VideoOutcome
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.flows.extraction.test_report import _report


def test_pictures_keep_to_the_configured_limits(
    tmp_path: Path, make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    video = str(make_video(tmp_path / "a.mp4", size="1280x720"))
    store = FeatureStore(tmp_path / "store", create=True)
    write_manifest(store.path, ShardManifest(0, (VideoEntry("a", video, 1, 1),), ("net.v1",)))
    record = FileRecord("features/net.v1/shard-00000.h5", 1, "", {})
    outcome = VideoOutcome("a", video, "ok", None, "", 1, rows={"net.v1": 1})
    write_outcomes(store.path, ShardOutcomes(0, (outcome,), {"net.v1": record}, 1.0))
    (picture,) = pictures_of(store, [0], DecodeLimits())
    assert picture.video_id == "a"
    with caplog.at_level(logging.INFO):
        assert list(pictures_of(store, [0], DecodeLimits.model_construct(ffmpeg_memory_bytes=60_000_000))) == []
    assert "No picture of a" in caplog.text


def test_no_picture_is_looked_for_at_a_url(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    url = "s3://lab/videos/a.mp4"
    write_manifest(store.path, ShardManifest(0, (VideoEntry("a", url, 1, 1),), ("net.v1",)))
    record = FileRecord("features/net.v1/shard-00000.h5", 1, "", {})
    outcome = VideoOutcome("a", url, "ok", None, "", 1, rows={"net.v1": 1})
    write_outcomes(store.path, ShardOutcomes(0, (outcome,), {"net.v1": record}, 1.0))
    with caplog.at_level(logging.INFO):
        assert list(pictures_of(store, [0], DecodeLimits())) == []
    assert caplog.text == ""


def test_a_store_that_cannot_be_read_any_more_costs_the_pictures_and_not_the_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    write_manifest(store.path, ShardManifest(0, (VideoEntry("a", "/videos/a.mp4", 1, 1),), ("net.v1",)))
    (store.path / "outcomes/shard-00000.json").write_text("{", encoding="utf-8")
    published: list[str] = []
    # A server would show no more than what is handed to it.
    monkeypatch.setattr(artifacts, "can_be_seen", lambda: True)
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda text, **_: published.append(text))
    artifacts.publish_report(store, _report(), [0], DecodeLimits(), DecodeOptions())
    assert len(published) == 1
    assert "No pictures of the videos: " in caplog.text
