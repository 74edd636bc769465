"""Annotation files as they are distributed, and with single rows that cannot be used."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reeldex.embedding.block_pooling import pool_spans
from reeldex.embedding.datasets import lsmdc, msrvtt, youcook2
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.locations import open_features
from reeldex.embedding.datasets.options import LsmdcOptions, MsrvttOptions, Youcook2Options
from reeldex.embedding.errors import DatasetError, MissingVideosError
from tests.embedding.feature_files import VIDEOS


def official(folder: Path, **changes: Any) -> Path:  # noqa: ANN401 - any JSON
    """Write YouCook2's JSON with two steps per video; `changes` replace fields of the first step of video1."""
    database: dict[str, Any] = {
        video_id: {
            "duration": 20.5,
            "subset": "validation" if at % 2 else "training",
            "recipe_type": "113",
            "annotations": [
                {"segment": [2, 5], "id": 0, "sentence": f"cut {video_id}"},
                {"segment": [6, 9.5], "id": 1, "sentence": "stir"},
            ],
        }
        for at, video_id in enumerate(VIDEOS)
    }
    database["video1"]["annotations"][0].update(changes)
    path = folder / "youcookii_annotations_trainval.json"
    path.write_text(json.dumps({"database": database}))
    return path


@pytest.mark.parametrize("by", ["annotations", "test_csv"])
def test_youcook2_from_the_official_json(tmp_path: Path, store: FeatureLocation, by: str) -> None:
    path = official(tmp_path)
    held = youcook2.open_evaluation(Youcook2Options.model_validate({by: path, "features": store}))
    assert held.captions == ("cut video1", "stir", "cut video3", "stir", "cut video5", "stir")
    expected = pool_spans(open_features(store), "video1", [(2, 5), (6, 9.5)])
    assert np.array_equal(held.videos(0, 2), expected)
    training = youcook2.open_training(Youcook2Options(annotations=path, features=store))
    assert [training.sample(0, 0, at).captions[0] for at in (0, 2)] == ["cut video0", "cut video2"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sentence": ""}, "column 'text': it is empty"),
        ({"sentence": None}, "column 'text': it is empty"),
        ({"sentence": float("nan")}, "column 'text': it is empty"),
        ({"sentence": ["a"]}, "column 'text': it is a list"),
        ({"segment": [5, 2]}, "column 'end': it ends at 2.0"),
        ({"segment": [float("nan"), 2]}, "column 'start': nan is neither"),
        ({"segment": [1]}, "column 'start': None is neither"),
        ({"segment": ["00:75", 2]}, "column 'start': '00:75' is neither"),
    ],
)
def test_one_bad_step_is_left_out_alone(
    tmp_path: Path, store: FeatureLocation, changes: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    held = youcook2.open_evaluation(Youcook2Options(annotations=official(tmp_path, **changes), features=store))
    assert held.captions == ("stir", "cut video3", "stir", "cut video5", "stir")
    assert (len(held.unusable.rows), held.unusable.sentences, held.unusable.complete) == (1, 1, False)
    assert f"annotation 0 of 'video1', {said}" in caplog.text
    assert "1 of 6 rows cannot be used" in caplog.text


def test_times_of_json_are_numbers_or_clocks(tmp_path: Path, store: FeatureLocation) -> None:
    path = official(tmp_path, segment=["0:02", "00:00:05"])
    held = youcook2.open_evaluation(Youcook2Options(annotations=path, features=store))
    assert held.clips[0].clip_id == "video1@2-5"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"database": []}, "must map video ids to their annotations under 'database'"),
        ([], "must map video ids"),
        ({"database": {"a": {"subset": "validation"}}}, "the video 'a': it has no list under 'annotations'"),
        ({"database": {"a": {"subset": "testing", "annotations": []}}}, "no annotations of the subset .*testing"),
        ({"database": {"a": {"subset": "validation", "annotations": [{"segment": [0, 1]}]}}}, "'text': it is missing"),
        ({"database": {"x" * 10**6: {"subset": "validation"}}}, "the video 'xxx"),
    ],
)  # fmt: skip
def test_official_json_that_cannot_be_used(tmp_path: Path, store: FeatureLocation, content: object, said: str) -> None:
    (tmp_path / "y.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=said) as raised:
        youcook2.open_evaluation(Youcook2Options(annotations=tmp_path / "y.json", features=store))
    assert len(str(raised.value)) < 500


def test_videos_of_other_subsets_need_no_annotations_and_one_without_its_own_is_left_out(
    tmp_path: Path, store: FeatureLocation
) -> None:
    steps = [{"segment": [at, at + 2], "sentence": f"step {at}"} for at in range(3)]
    videos = {"video0": {"subset": "validation", "annotations": steps}, "video1": {"subset": "testing"},
              "video2": {"subset": "validation", "annotations": None}}  # fmt: skip
    (tmp_path / "y.json").write_text(json.dumps({"database": videos}))
    held = youcook2.open_evaluation(Youcook2Options(annotations=tmp_path / "y.json", features=store))
    assert {clip.video_id for clip in held.clips} == {"video0"}
    assert list(held.unusable.rows.values()) == ["it has no list under 'annotations'"]


def test_a_clip_of_the_pickle_without_a_caption_is_left_out_alone(tmp_path: Path) -> None:
    vector = np.ones(3, np.float32)
    entries = [{"id": f"a_{at}", "caption": said, "2d": vector * at, "3d": vector} for at, said in enumerate(
        ["cut", None, float("nan"), "stir", "fry"], start=1
    )]  # fmt: skip
    (tmp_path / "y.pkl").write_bytes(pickle.dumps(entries))
    held = youcook2.open_evaluation(Youcook2Options(test_pkl=tmp_path / "y.pkl"))
    assert held.captions == ("cut", "stir", "fry")
    assert len(held.unusable.rows) == 2


def captions_json(folder: Path, form: str) -> Path:
    said = [(video_id, f"{video_id} {at}") for at in range(3) for video_id in VIDEOS]
    if form == "sentences":
        held: dict[str, Any] = {
            "sentences": [{"video_id": video_id, "sen_id": 0, "caption": text} for video_id, text in said]
        }
    else:
        held = {
            "images": [{"id": video_id} for video_id in VIDEOS],
            "annotations": [{"image_id": video_id, "id": 0, "caption": text} for video_id, text in said],
        }
    path = folder / f"{form}.json"
    path.write_text(json.dumps(held))
    return path


@pytest.mark.parametrize("form", ["sentences", "annotations"])
def test_msrvtt_from_lists_of_ids_and_either_json(tmp_path: Path, store: FeatureLocation, form: str) -> None:
    (tmp_path / "train_list.txt").write_text("video0\nvideo1.mp4\nvideo2\n")
    (tmp_path / "test_list.txt").write_text("video_id\nvideo5\nvideo3.mp4\n")
    options = MsrvttOptions(
        train_csv=tmp_path / "train_list.txt",
        train_json=captions_json(tmp_path, form),
        test_csv=tmp_path / "test_list.txt",
        features=store,
    )
    training = msrvtt.open_training(options)
    assert len(training) == 3
    assert {training.sample(0, epoch, 1).captions[0] for epoch in range(99)} == {f"video1 {at}" for at in range(3)}
    held = msrvtt.open_evaluation(options)
    assert [clip.video_id for clip in held.clips] == ["video5", "video3"]
    assert held.captions == tuple(f"{video_id} {at}" for video_id in ("video5", "video3") for at in range(3))
    assert msrvtt.open_evaluation(options.replaced(train_json=None, test_json=options.train_json)).captions
    with pytest.raises(DatasetError, match="needs test_json for the sentences"):
        msrvtt.open_evaluation(options.replaced(train_json=None))
    with pytest.raises(DatasetError, match="the file 2 and 2"):
        msrvtt.open_evaluation(options.replaced(protocol="1k-B"))


def test_a_listed_video_without_a_sentence_is_missing(tmp_path: Path, store: FeatureLocation) -> None:
    (tmp_path / "list.txt").write_text("video1\nvideo2\nother\n")
    options = MsrvttOptions(
        test_csv=tmp_path / "list.txt", test_json=captions_json(tmp_path, "sentences"), features=store
    )
    with pytest.raises(MissingVideosError, match="other: its captions are missing"):
        msrvtt.open_evaluation(options)
    held = msrvtt.open_evaluation(options.replaced(max_missing_share=0.5))
    assert (len(held.clips), list(held.unusable.reasons)) == (2, ["other"])


@pytest.mark.parametrize("bad", [None, float("nan"), "", "null"])
def test_one_bad_caption_of_msrvtt_is_left_out_alone(tmp_path: Path, store: FeatureLocation, bad: object) -> None:
    path = captions_json(tmp_path, "sentences")
    held = json.loads(path.read_text())
    held["sentences"][1]["caption"] = bad
    path.write_text(json.dumps(held))
    (tmp_path / "list.txt").write_text("\n".join(VIDEOS))
    training = msrvtt.open_training(MsrvttOptions(train_csv=tmp_path / "list.txt", train_json=path, features=store))
    drawn = {training.sample(0, epoch, 1).captions[0] for epoch in range(99)}
    assert drawn == {"video1 1", "video1 2"}
    assert len(training.unusable.rows) == 1
    (tmp_path / "t.csv").write_text(f"video_id,sentence\nvideo1,a\nvideo2,{'' if bad is None else bad}\nvideo3,c\n")
    tested = msrvtt.open_evaluation(MsrvttOptions(test_csv=tmp_path / "t.csv", features=store))
    assert (tested.captions, tested.unusable.sentences) == (("a", "c"), 1)


@pytest.mark.parametrize(
    "bad", ["video1\t1\t2\t1\t2\t", "video1\t1\t2\t1\t2", "video1\t1\t2\t1\t2\tNaN", "\t1\t2\t1\t2\ta"]
)
def test_one_bad_line_of_lsmdc_is_left_out_alone(tmp_path: Path, store: FeatureLocation, bad: str) -> None:
    lines = [f"{each}\t1\t2\t1\t2\t{each} says" for each in ("video0", "video2", "video3")]
    (tmp_path / "l.csv").write_text("\n".join([lines[0], bad, *lines[1:]]))
    options = LsmdcOptions(train_csv=tmp_path / "l.csv", test_csv=tmp_path / "l.csv", features=store)
    held = lsmdc.open_evaluation(options)
    assert [clip.clip_id for clip in held.clips] == ["video0", "video2", "video3"]
    assert (len(held.unusable.rows), held.unusable.sentences) == (1, 1)
    assert len(lsmdc.open_training(options)) == 3
