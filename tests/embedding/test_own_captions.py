from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.block_pooling import pool_spans, pool_whole
from reeldex.embedding.datasets.captions import open_evaluation, open_training, split_by_video
from reeldex.embedding.datasets.captions_options import CaptionsOptions
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.locations import open_features
from reeldex.embedding.errors import DatasetError
from tests.embedding.feature_files import VIDEOS, make_damaged_store, make_store, rows_of


def options(folder: Path, store: FeatureLocation, content: str, **changes: object) -> CaptionsOptions:
    (folder / "my.csv").write_bytes(content.encode())
    return CaptionsOptions.model_validate({"captions": folder / "my.csv", "features": store, **changes})


SPANS = "video,start,end,text\n" + "".join(
    f"{each},0:0{at},00:00:09.5,said {at}\n" for each in VIDEOS for at in range(2)
)


def test_spans_are_split_by_video(tmp_path: Path, store: FeatureLocation) -> None:
    given = options(tmp_path, store, SPANS, split=0.3)
    training, held = open_training(given), open_evaluation(given)
    trained = {clip.video_id for group in training.groups for clip in group}
    tested = {clip.video_id for clip in held.clips}
    assert (len(trained), len(tested), trained & tested) == (4, 2, set())
    assert len(held.clips) == len(held.captions) == 4
    video_id = held.clips[1].video_id
    assert np.array_equal(held.videos(1, 2), pool_spans(open_features(store), video_id, [(1, 9.5)]))
    pairs = open_training(given.replaced(n_pair=5))
    assert (len(pairs), len(pairs.sample(0, 0, 0).captions)) == (4, 5)


def test_the_split_depends_on_names_alone() -> None:
    names = [f"v{at}" for at in range(100)]
    train, test = split_by_video(names, 0.1)
    assert (len(train), len(test)) == (90, 10)
    assert split_by_video(names[::-1] * 3, 0.1) == (train, test)
    assert test < split_by_video(names, 0.3)[1], "a smaller share is part of a larger one"
    assert [len(part) for part in split_by_video(["a", "b"], 0.01)] == [1, 1]
    assert [len(part) for part in split_by_video(["a", "b"], 0.99)] == [1, 1]


def test_names_of_one_video_are_not_split(tmp_path: Path, store: FeatureLocation) -> None:
    rows = "".join(f"{each},a\n{each}.mp4,b\nclips/{each}.mp4,c\n" for each in VIDEOS)
    given = options(tmp_path, store, "video,text\n" + rows, split=0.5, max_missing_share=0.9)

    def names(clips: list[str]) -> set[str]:
        return {name.rpartition("/")[2].partition(".")[0] for name in clips}

    trained = names([clip.video_id for group in open_training(given).groups for clip in group])
    assert not trained & names([clip.video_id for clip in open_evaluation(given).clips])


@pytest.mark.parametrize("other", ["test", "TEST", "val", "validation", "dev"])
def test_a_column_says_the_split(tmp_path: Path, store: FeatureLocation, other: str) -> None:
    rows = "".join(f"{each},said {each},{other if at < 2 else 'train'}\n" for at, each in enumerate(VIDEOS))
    given = options(tmp_path, store, "Video_ID , Caption,Split\n" + rows)
    assert len(open_training(given)) == 4
    held = open_evaluation(given)
    assert held.captions == ("said video0", "said video1")
    assert np.array_equal(held.videos(0, 1)[0], pool_whole(open_features(store), "video0"))


def test_the_test_split_goes_before_the_validation_split(tmp_path: Path, store: FeatureLocation) -> None:
    splits = ("train", "train", "train", "val", "test", "test")
    rows = "".join(f"{each},a,{split}\n" for each, split in zip(VIDEOS, splits, strict=True))
    given = options(tmp_path, store, "video,text,split\n" + rows)
    assert [clip.video_id for clip in open_evaluation(given).clips] == ["video4", "video5"]
    assert len(open_training(given)) == 3


def test_videos_in_both_splits_are_said(
    tmp_path: Path, store: FeatureLocation, caplog: pytest.LogCaptureFixture
) -> None:
    content = "video,text,split\nvideo0,a,train\nvideo0.mp4,b,test\nvideo1,c,test\n"
    open_evaluation(options(tmp_path, store, content))
    assert "1 video both to train and to test on, as 'video0'" in caplog.text


@pytest.mark.parametrize(
    "bad", ["video1,1,2,", "video1,x,2,a", "video1,3,2,a", ",1,2,a", "video1,1,,a", "video1,1,2,NaN", "video1,nan,2,a"]
)
def test_one_bad_row_is_left_out_alone(tmp_path: Path, store: FeatureLocation, bad: str) -> None:
    given = options(tmp_path, store, SPANS + bad + "\n")
    training, held = open_training(given), open_evaluation(given)
    assert len(training) + len(held.captions) == 12
    assert len(training.unusable.rows) == len(held.unusable.rows) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("video,start,end\nvideo0,1,2\n", "has no column 'text'"),
        ("video,start,text\nvideo0,1,a\n", "has a column 'start' alone"),
        ("video,text\nvideo0,a\n", "1 video cannot be split .* or a column split"),
        ("video,text,split\nvideo0,a,train\n", "no usable row whose split is test; it has rows of: train"),
        ("video,text,split\nvideo0,a,mine\n", "'mine' is none of train, test and val"),
        ("video,Video,text\nvideo0,video1,a\n", "several columns 'video_id'"),
        ("video,text\n", "has no rows below its first line"),
        ("", "is empty"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, store: FeatureLocation, content: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        open_evaluation(options(tmp_path, store, content))


def test_what_is_not_given_is_named(tmp_path: Path, store: FeatureLocation) -> None:
    with pytest.raises(DatasetError, match=r"needs captions \(--captions FILE\)"):
        open_training(CaptionsOptions())
    with pytest.raises(DatasetError, match="needs features"):
        open_training(options(tmp_path, store, SPANS, features=None))
    for share in (0, 1, -0.1):
        with pytest.raises(ValueError, match="split"):
            CaptionsOptions(split=share)


def test_captions_before_the_features_of_a_clip_are_left_out(tmp_path: Path) -> None:
    path = make_damaged_store(tmp_path, {each: rows_of(each) for each in VIDEOS}, {}, start_seconds=60.0).path
    rows = "".join(f"{each},70,72,cut it,test\n" for each in VIDEOS)
    table = f"video,start,end,text,split\n{rows}video1,2,4,too early,test\nvideo1,100,104,too late,test\n"
    held = open_evaluation(options(tmp_path, FeatureLocation(store=path), table, max_missing_share=0.3))
    assert len(held.captions) == len(VIDEOS)
    assert held.unusable.clips == {
        "video1@2-4": "it ends at 4 seconds, before its video's features begin",
        "video1@100-104": "it begins at 100 seconds, beyond the end of its video's features",
    }


def test_equal_names_in_several_folders_are_split_and_ranked_as_different_videos(tmp_path: Path) -> None:
    names = [f"part{at}/clip.mp4" for at in range(4)]
    path = make_store(tmp_path, {each: rows_of(each) for each in names}).path
    given = options(tmp_path, FeatureLocation(store=path), "video,text\n" + "".join(f"{each},cut\n" for each in names))
    trained = {group[0].video_id for group in open_training(given).groups}
    tested = [clip.video_id for clip in open_evaluation(given).clips]
    assert (len(trained), len(tested)) == (3, 1)
    assert {*trained, *tested} == set(names)


def test_two_names_of_one_video_are_one_candidate(tmp_path: Path, store: FeatureLocation) -> None:
    rows = "video0,a,test\nvideo0.mp4,b,test\nvideo1.mp4,c,test\nvideo2.mp4,d,train\n"
    held = open_evaluation(options(tmp_path, store, f"video,text,split\n{rows}"))
    assert ([clip.video_id for clip in held.clips], held.right_clips.tolist()) == (["video0", "video1.mp4"], [0, 0, 1])
