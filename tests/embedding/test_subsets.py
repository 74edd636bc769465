from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.damaged_rows import Ranges
from reeldex.embedding.datasets.caption_stream import CaptionStream
from reeldex.embedding.datasets.captions_options import CaptionsOptions
from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.datasets.options import MsrvttOptions, Youcook2Options
from reeldex.embedding.datasets.records import ClipTrainingSet
from reeldex.embedding.datasets.registry import DATASETS
from reeldex.embedding.datasets.subsets import selected, split_validation
from reeldex.embedding.datasets.video_identity import VideoIdentity
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.evaluation.evaluate import measure
from reeldex.embedding.stop_words import content_words, load_stop_words
from reeldex.embedding.training.checkpoint_selection import selection_score
from tests.embedding import synthetic
from tests.embedding.feature_files import VIDEOS, make_damaged_store, rows_of
from tests.embedding.test_datasets import write_vectors

OpenNarrated = Callable[..., list[str]]


@pytest.fixture
def open_narrated(narrated: Howto100mOptions) -> OpenNarrated:
    """Return the videos of the narrated set, opened as registered, with other options."""
    return lambda **changes: list(DATASETS["howto100m"].open_training(narrated.replaced(**changes)).videos)


@pytest.mark.parametrize(
    "content",
    [
        "video1\nvideo4\nother\n",
        "\N{BYTE ORDER MARK}task,video_id\n1,video1\n2,clips/video4.mp4\n",
        "video_id\r\n video1 \r\nvideo4.webm\r\n\r\n",
    ],
)
def test_excluded_videos_are_not_trained_on(tmp_path: Path, open_narrated: OpenNarrated, content: str) -> None:
    (tmp_path / "ids.csv").write_bytes(content.encode())
    assert open_narrated(exclude=tmp_path / "ids.csv") == ["video0", "video2", "video3", "video5"]


def test_a_list_of_excluded_videos_that_excludes_none_is_reported(
    tmp_path: Path, open_narrated: OpenNarrated, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ids.csv").write_text("other\n")
    assert open_narrated(exclude=tmp_path / "ids.csv") == VIDEOS
    assert [record.levelname for record in caplog.records if "0 videos of the 1" in record.message] == ["WARNING"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "is empty"),
        ("video_id\n", "names no videos"),
        ("task,video\n1,video1\n", "has no column 'video_id'"),
        ("\n".join(VIDEOS), "names all videos, so that nothing is left to train on"),
    ],
)
def test_lists_of_excluded_videos_that_cannot_be_used(
    tmp_path: Path, open_narrated: OpenNarrated, content: str, why: str
) -> None:
    (tmp_path / "ids.csv").write_text(content)
    with pytest.raises(DatasetError, match=why):
        open_narrated(exclude=tmp_path / "ids.csv")


def test_a_share_is_part_of_a_larger_one_and_the_same_in_any_order(tmp_path: Path) -> None:
    videos = [f"v{at}.mp4" for at in range(200)]
    shares = []
    for names in (videos, videos[::-1]):
        samples = ClipTrainingSet("synthetic", [[Clip(name, name, ("a",))] for name in names], synthetic.KindReader())
        shares += [set(selected(samples, MsrvttOptions(train_share=share)).videos) for share in (0.1, 0.101, 0.5, 1)]
    assert [len(each) for each in shares[:4]] == [20, 21, 100, 200]
    assert shares[0] < shares[1] < shares[2] < shares[3]
    assert shares[:4] == shares[4:]
    assert shares[0] != set(videos[:20])


def test_a_share_keeps_all_clips_of_a_video() -> None:
    groups = [[Clip(f"c{at}", f"v{at % 5}", ("a",))] for at in range(50)]
    samples = ClipTrainingSet("synthetic", groups, synthetic.KindReader())
    kept = selected(samples, MsrvttOptions(train_share=0.3))
    assert len(set(kept.videos)) == 2
    assert len(kept) == 20


def test_videos_beyond_a_rank_are_not_trained_on(tmp_path: Path, open_narrated: OpenNarrated) -> None:
    rows = "".join(f"{video},{at + 1}\n" for at, video in enumerate(VIDEOS))
    (tmp_path / "h.csv").write_text("video_id,rank\n" + rows)
    assert open_narrated(max_rank=3) == VIDEOS[:3]
    assert open_narrated() == VIDEOS
    (tmp_path / "h.csv").write_text("video_id,rank\n" + rows.replace(",6", ",x"))
    with pytest.raises(DatasetError, match=r"line 7, column 'rank': 'x' is not a whole number"):
        open_narrated(max_rank=3)
    (tmp_path / "h.csv").write_text("video_id,rank\nvideo0,9\n")
    with pytest.raises(DatasetError, match="no video has a rank of at most 3"):
        open_narrated(max_rank=3)
    (tmp_path / "h.csv").write_text("video_id\nvideo0\n")
    with pytest.raises(DatasetError, match="has no column 'rank'"):
        open_narrated(max_rank=3)


def test_stop_words_are_left_out_of_windows_and_of_the_words_that_vectors_are_learnt_from(
    tmp_path: Path, narrated: Howto100mOptions
) -> None:
    entry = {"start": [0, 3, 6], "end": [3, 6, 9], "text": ["The onion", "IS in a pan", "it's hot"]}
    (tmp_path / "captions.json").write_text(json.dumps(dict.fromkeys(VIDEOS, entry)))
    training = DATASETS["howto100m"].open_training(narrated.replaced(stop_words="english", min_seconds=9))
    assert set(training.sample(0, 0, 1).captions) == {"onion pan hot", "pan onion hot", "hot pan onion"}
    assert list(CaptionStream(training))[:3] == ["onion", "pan", "hot"]
    (tmp_path / "stop.txt").write_text("onion\nPAN hot\n")
    training = DATASETS["howto100m"].open_training(narrated.replaced(stop_words=tmp_path / "stop.txt"))
    assert list(CaptionStream(training))[:3] == ["The", "IS in a", "it's"]


def test_what_stop_words_are(tmp_path: Path) -> None:
    assert load_stop_words(None) == frozenset()
    stop_words = load_stop_words(Path("english"))
    assert content_words("And now you're going to add the OIL, it doesn't burn", stop_words) == [
        "going", "add", "OIL", "burn",
    ]  # fmt: skip
    assert not stop_words & {"up2", "add", "cut", "oil", "hot", "knife"}
    (tmp_path / "none.txt").write_text(" \n")
    with pytest.raises(DatasetError, match="has no words"):
        load_stop_words(tmp_path / "none.txt")
    with pytest.raises(DatasetError, match="There is no file"):
        load_stop_words(tmp_path / "nothing.txt")


def test_a_validation_split_is_by_video_and_of_held_out_clips() -> None:
    groups = [[Clip(f"c{at}", f"v{at % 10}", (f"a{at}", "b"))] for at in range(40)]
    samples = ClipTrainingSet("synthetic", groups, synthetic.KindReader())
    rest, held_out = split_validation(samples, 0.2)
    assert (len(rest), len(held_out.clips), len(held_out.captions)) == (32, 8, 16)
    assert {clip.video_id for clip in held_out.clips}.isdisjoint(rest.videos)
    assert {clip.video_id for clip in held_out.clips} | set(rest.videos) == {f"v{at}" for at in range(10)}
    again, _ = split_validation(samples.subset(range(39, -1, -1)), 0.2)
    assert set(again.videos) == set(rest.videos)
    with pytest.raises(DatasetError, match="10 videos, of which 10 would be for validation"):
        split_validation(samples, 0.95)


def test_the_validation_split_of_howto100m_has_a_window_per_video(narrated: Howto100mOptions) -> None:
    training = DATASETS["howto100m"].open_training(narrated)
    rest, held_out = split_validation(training, 0.3)
    assert (len(rest), len(held_out.clips)) == (4, 2)
    # The third of the captions at 0, 3, 7 and 12 seconds, with the neighbour that makes the shorter window.
    assert held_out.captions == ("c b it's", "c b it's")
    for clip, vector in zip(held_out.clips, held_out.videos(0, 2), strict=True):
        windows = training.windows(training.videos.index(clip.video_id), [2])  # type: ignore[attr-defined]
        assert np.array_equal(vector, windows.video[0])


def test_clips_of_published_vectors_are_split_by_the_video_in_their_name(tmp_path: Path) -> None:
    entries = [
        {"id": f"{video}_{clip}", "caption": "cut", "2d": np.full(6, clip, np.float32), "3d": np.ones(4, np.float32)}
        for video in ("a_b", "c")
        for clip in range(3)
    ]
    (tmp_path / "y.pkl").write_bytes(pickle.dumps(entries))
    (tmp_path / "ids.csv").write_text("a_b\n")
    for n_pair, left in ((1, 3), (2, 1)):
        options = Youcook2Options(train_pkl=tmp_path / "y.pkl", exclude=tmp_path / "ids.csv", n_pair=n_pair)
        rest = DATASETS["youcook2"].open_training(options)
        assert (len(rest), set(rest.videos)) == (left, {"c"})


def test_the_best_checkpoint_is_chosen_on_the_validation_split() -> None:
    figures = {"validation/text_to_video/recall_at_10": 0.25, "msrvtt/text_to_video/recall_at_10": 0.75}
    assert selection_score(figures, 1.0, None).value == 0.25
    assert selection_score(figures, 1.0, "msrvtt/text_to_video/recall_at_10").value == 0.75
    del figures["validation/text_to_video/recall_at_10"]
    assert selection_score(figures, 1.0, None).value == 0.75


def test_msrvtt_too_can_be_trained_on_in_part(tmp_path: Path) -> None:
    sentences = [{"video_id": video_id, "caption": video_id} for video_id in VIDEOS]
    (tmp_path / "data.json").write_text(json.dumps({"sentences": sentences}))
    (tmp_path / "train.csv").write_text("video_id\n" + "\n".join(VIDEOS) + "\n")
    options = MsrvttOptions(
        train_csv=tmp_path / "train.csv",
        train_json=tmp_path / "data.json",
        train_features=write_vectors(tmp_path / "train.pth", VIDEOS),
        train_share=0.5,
    )
    training = DATASETS["msrvtt"].open_training(options)
    assert len(training) == 3
    assert training.sample(0, 0, 0).captions == (training.videos[0],)


@pytest.mark.parametrize("times", [",0,5", ""])
def test_texts_of_one_part_of_a_video_are_one_candidate_of_the_validation_split(
    tmp_path: Path, store: FeatureLocation, times: str
) -> None:
    # Twelve times the same candidate would tie with itself: no text could be among the first ten.
    rows = "".join(f"{video}{times},{video} text {at}\n" for video in VIDEOS for at in range(12))
    (tmp_path / "c.csv").write_text(f"video{',start,end' if times else ''},text\n{rows}")
    options = CaptionsOptions(captions=tmp_path / "c.csv", features=store, split=0.2)
    rest, held_out = split_validation(DATASETS["captions"].open_training(options), 0.4)
    assert (len(set(rest.videos)), len(held_out.clips), len(held_out.captions)) == (3, 2, 24)
    scores = np.zeros((24, 2), np.float32)
    scores[np.arange(24), held_out.right_clips] = 1
    assert measure(scores, held_out).directions["text_to_video"].retrieval.recall_at_1 == 1
    assert [held_out.clips[at].video_id for at in held_out.right_clips] == [
        said.split()[0] for said in held_out.captions
    ]


def test_the_validation_split_of_howto100m_has_windows_with_rows_alone(
    tmp_path: Path, narrated: Howto100mOptions
) -> None:
    damaged: dict[str, tuple[Ranges | None, Ranges | None]] = dict.fromkeys(VIDEOS, (((19, 20),), ((29, 30),)))
    path = make_damaged_store(tmp_path / "damaged", {each: rows_of(each) for each in VIDEOS}, damaged).path
    spoken = {each: {"start": [2, 20.3, 40], "end": [8, 27, 47], "text": ["a", "b", "c"]} for each in VIDEOS[:5]}
    spoken["video5"] = {"start": [20.3, 40], "end": [27, 47], "text": ["b", "c"]}
    (tmp_path / "captions.json").write_text(json.dumps(spoken))
    options = narrated.replaced(features=FeatureLocation(store=path, skip_damaged=True))
    training = DATASETS["howto100m"].open_training(options)
    clips, reader = training.clips(range(6))
    assert [clip.captions for clip in clips] == [("a",)] * 5, "none of video5, whose captions are beyond its end"
    assert all(reader.read(clip).any() for clip in clips)
    (tmp_path / "captions.json").write_text(json.dumps(dict.fromkeys(VIDEOS, spoken["video5"])))
    training = DATASETS["howto100m"].open_training(options)
    with pytest.raises(DatasetError, match="no clip of the 2 videos held out for validation has usable features"):
        split_validation(training, 0.3)


def test_names_of_one_video_and_of_several() -> None:
    identity = VideoIdentity(["a/x.mp4", "b/x.mp4", "c/y.mp4", "y", "z.mp4", "z.webm", "Z.MP4"])
    assert [identity.of(name) for name in ("a/x.mp4", "b/x", "x")] == ["a/x", "b/x", "x"], "equal names in two folders"
    assert [identity.of(name) for name in ("c/y.mp4", "y", "d/y.mkv")] == ["y", "y", "y"]
    assert [identity.of(name) for name in ("z.mp4", "z.WEBM", "z")] == ["z.mp4", "z.webm", "z"]


@pytest.mark.parametrize(
    ("listed", "left"),
    [
        ("p1/talk.mp4\n", ["p2/talk.mp4", "p3/other.mp4"]),
        ("talk\n", ["p3/other.mp4"]),
        ("clips/other.webm\n", ["p1/talk.mp4", "p2/talk.mp4"]),
    ],
)
def test_equal_names_in_several_folders_are_different_videos(tmp_path: Path, listed: str, left: list[str]) -> None:
    videos = ["p1/talk.mp4", "p2/talk.mp4", "p3/other.mp4"]
    samples = ClipTrainingSet("synthetic", [[Clip(name, name, ("a",))] for name in videos], synthetic.KindReader())
    (tmp_path / "ids.txt").write_text(listed)
    assert list(selected(samples, MsrvttOptions(exclude=tmp_path / "ids.txt")).videos) == left
    assert len(selected(samples, MsrvttOptions(train_share=0.5))) == 2
    rest, held_out = split_validation(samples, 0.3)
    assert (len(rest), len(held_out.clips)) == (2, 1)
