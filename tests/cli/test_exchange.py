"""`reeldex export` and `import`: a round trip, and archives of which nothing is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.training.checkpoint import load_checkpoint
from reeldex.storage.store import FeatureStore
from tests.conftest import Reeldex
from tests.embedding.feature_files import SPACES
from tests.flows.captioned import TRAIN, data_of, make_captioned, own_words

PUBLISHED = ("resnet152.imagenet1k_v1", "resnext101_3d.kinetics400")


def write_archive(folder: Path, *ids: str, seconds: int = 4, normalised: bool = True) -> None:
    """Write `folder`/2d and `folder`/3d with one file per video, as the published extractor does."""
    for name, rate in (("2d", 1.0), ("3d", 1.5)):
        for video_id in ids:
            rows = np.random.default_rng(len(video_id)).random((int(seconds * rate), 2048)) + 0.1
            rows /= np.linalg.norm(rows, axis=1, keepdims=True) if normalised else 1
            path = folder / name / f"{video_id}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, rows.astype(np.float16))


@pytest.mark.slow
def test_training_on_an_imported_store_gives_the_same_checkpoint(reeldex: Reeldex, tmp_path: Path) -> None:
    data = data_of(make_captioned(tmp_path))
    train = (*own_words(tmp_path), *TRAIN, "--epochs", 2)
    assert reeldex("train", *data, "--out", tmp_path / "one", *train).status == 0
    assert reeldex("export", tmp_path / "store", tmp_path / "npy").status == 0
    answer = reeldex("import", tmp_path / "npy", tmp_path / "copy", "--json")
    assert (answer.status, answer.json["imported"], answer.json["claimed"]) == (0, 18, [])
    copied = ("--dataset", "msrvtt", "--store", tmp_path / "copy", "--data", tmp_path)
    assert reeldex("train", *copied, "--out", tmp_path / "other", *train).status == 0
    one, other = (load_checkpoint(tmp_path / name / "last.pth") for name in ("one", "other"))
    assert all(one.weights[name].equal(other.weights[name]) for name in one.weights)
    assert one.origin.features == other.origin.features


def test_an_old_archive_is_imported_as_claimed(reeldex: Reeldex, tmp_path: Path) -> None:
    write_archive(tmp_path / "old", "v1", "sub/v2.mp4")
    store = tmp_path / "store"
    for folder, space in zip(("2d", "3d"), PUBLISHED, strict=True):
        answer = reeldex("import", tmp_path / "old" / folder, store, "--as", space, "--trust")
        assert answer.status == 0, answer.err
        assert f"Imported 2 videos, skipped 0 already present, recorded as claimed {space}" in answer.out
        assert answer.err == ""
    opened = FeatureStore(store)
    for space in PUBLISHED:
        fingerprint = opened.fingerprint(space)
        assert (fingerprint["claimed"], fingerprint["dimensions"]) == (True, 2048)
        assert "weights" not in fingerprint
        assert opened.ids(space) == ["sub/v2.mp4", "v1"]
    assert {video.duration_seconds for video in opened.videos()} == {4.0}
    assert reeldex("verify", store).status == 0
    again = reeldex("import", tmp_path / "old/2d", store, "--as", PUBLISHED[0], "--trust", "--json")
    assert (again.json["imported"], again.json["already_there"]) == (0, 2)


def test_both_spaces_of_an_archive_at_once(reeldex: Reeldex, tmp_path: Path) -> None:
    write_archive(tmp_path / "old", "v1", "v22")
    for folder, space in zip(("2d", "3d"), PUBLISHED, strict=True):
        (tmp_path / "old" / folder).rename(tmp_path / "old" / space)
    (tmp_path / "old" / PUBLISHED[1] / "v22.npy").unlink()
    claims = ("--as", PUBLISHED[0], "--as", PUBLISHED[1], "--trust")
    answer = reeldex("import", tmp_path / "old", tmp_path / "store", *claims, "--json")
    assert (answer.status, answer.json["imported"], answer.json["claimed"]) == (0, 2, list(PUBLISHED))
    opened = FeatureStore(tmp_path / "store")
    assert [opened.ids(space) for space in PUBLISHED] == [["v22", "v1"], ["v1"]]


def test_rows_that_are_not_normalised_are_reported(reeldex: Reeldex, tmp_path: Path) -> None:
    write_archive(tmp_path / "old", "v1", normalised=False)
    answer = reeldex("import", tmp_path / "old/2d", tmp_path / "store", "--as", PUBLISHED[0], "--trust", "--json")
    assert (answer.status, answer.json["not_normalised"]) == (0, 1)
    assert "the rows of 1 file are not L2-normalised" in answer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--as", PUBLISHED[0]), "do not record how they were made. Add --trust"),
        (("--trust",), "name the feature space"),
        (("--as", "resnet15.imagenet1k_v1", "--trust"), "--seconds-per-row resnet15.imagenet1k_v1=S"),
        (("--as", "ResNet152", "--trust"), "no registered extractor has this name"),
        (("--as", "resnet152", "--trust"), "A feature space is named <network>.<tag>"),
        (("--as", PUBLISHED[0], "--as", PUBLISHED[0], "--trust"), "names a feature space twice"),
        (("--as", PUBLISHED[0], "--as", PUBLISHED[1], "--trust"), "each needs a folder of its own"),
        (("--as", "other.net", "--trust", "--seconds-per-row", "other.net=0"), "must be finite and above 0"),
        ((), "is not in the folder of a feature space"),
    ],
)
def test_claims_that_cannot_be_taken(reeldex: Reeldex, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    write_archive(tmp_path / "old", "v1")
    answer = reeldex("import", tmp_path / "old/2d", tmp_path / "store", *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert not (tmp_path / "store").exists()


def test_a_checkpoint_of_claimed_features_fits_extracted_ones_of_that_space(tmp_path: Path) -> None:
    from reeldex.embedding.errors import CheckpointMismatchError
    from reeldex.embedding.model import ModelSpec
    from reeldex.embedding.training.checkpoint import Checkpoint, Origin, require_features

    def stream(space: str, **settings: object) -> dict[str, object]:
        return {"2d": {"space": space, "fingerprint": settings}}

    spec = ModelSpec(video_dim=8, embed_dim=4, word_dim=3, sentence_dim=5, max_words=2)
    claim = stream(PUBLISHED[0], claimed=True, extractor={"fps": 1})
    checkpoint = Checkpoint(spec, {}, Origin(features=claim))  # type: ignore[arg-type]
    require_features(checkpoint, stream(PUBLISHED[0], extractor={"fps": 1}, weights="aa"), 8)  # type: ignore[arg-type]
    for other in (stream(PUBLISHED[0], extractor={"fps": 2}), stream(SPACES[0], extractor={"fps": 1})):
        with pytest.raises(CheckpointMismatchError):
            require_features(checkpoint, other, 8)  # type: ignore[arg-type]


def test_the_record_of_an_export_is_json_that_others_can_read(reeldex: Reeldex, tmp_path: Path) -> None:
    make_captioned(tmp_path)
    assert reeldex("export", tmp_path / "store", tmp_path / "npy").status == 0
    record = json.loads((tmp_path / "npy" / SPACES[0] / "features.json").read_text())
    assert record["space"] == SPACES[0]
    assert record["fingerprint"]["seconds_per_row"] == 1.0
    video = record["videos"]["red0"]
    assert video["row_count"] == len(np.load(tmp_path / "npy" / SPACES[0] / "red0.npy"))
    assert {"sha256", "duration_seconds", "start_seconds", "source", "entry"} <= set(video)
