from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pytest

from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.records import ClipTrainingSet, EvaluationSet, RetrievalSample, Vectors, draw_generator
from reeldex.embedding.datasets.unusable import UnusableVideos, exclude_unusable, without_clips
from reeldex.embedding.errors import DatasetError, MissingVideosError
from reeldex.storage.schema import JSON


@dataclass(frozen=True)
class LetterReader:
    """Gives each clip a vector of its first letter."""

    video_dim: int = 2

    def part(self, clip: Clip) -> Hashable:
        return clip.clip_id

    def read(self, clip: Clip) -> Vectors:
        return np.array([ord(clip.clip_id[0]), 1], dtype=np.float32)

    def fingerprints(self) -> dict[str, JSON]:
        return {"2d": "letters"}


def clips(names: str, captions: int = 3) -> list[Clip]:
    return [
        Clip(name, name, tuple(f"{name}{at}" for at in range(captions)), class_id=at) for at, name in enumerate(names)
    ]


def test_a_sample_depends_on_seed_epoch_and_index_alone() -> None:
    training = ClipTrainingSet("x", [clips("abcdef"), clips("ghijkl")], LetterReader(), pairs_per_sample=4)
    first = training.sample(1, 2, 0)
    np.random.default_rng(0).random()
    training.sample(1, 3, 1)
    again = training.sample(1, 2, 0)
    assert (first.clip_ids, first.captions) == (again.clip_ids, again.captions)
    assert np.array_equal(first.video, again.video)
    others = [training.sample(*key) for key in ((2, 2, 0), (1, 3, 0), (1, 2, 1))]
    assert all(other.captions != first.captions for other in others)
    assert first.video[:, 0].tolist() == [ord(name) for name in first.clip_ids]
    assert all(caption[0] == name for caption, name in zip(first.captions, first.clip_ids, strict=True))
    assert first.class_ids == tuple("abcdef".index(name) for name in first.clip_ids)


def test_every_caption_and_clip_is_drawn_about_as_often() -> None:
    training = ClipTrainingSet("x", [clips("abcd")], LetterReader(), pairs_per_sample=4)
    drawn = [caption for epoch in range(500) for caption in training.sample(0, epoch, 0).captions]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 12
    assert counts.min() > 100
    assert counts.max() < 250
    assert len({draw_generator(0, 0, index).integers(1 << 60) for index in range(1000)}) == 1000


@pytest.mark.parametrize(("groups", "pairs"), [([], 1), ([[]], 1), ([clips("a")], 0)])
def test_training_sets_that_cannot_be(groups: list[list[Clip]], pairs: int) -> None:
    with pytest.raises(ValueError, match="needs at least one pair per sample and one clip per group"):
        ClipTrainingSet("x", groups, LetterReader(), pairs)


def test_samples_that_cannot_be() -> None:
    vectors = np.ones((2, 3), np.float32)
    assert RetrievalSample(("a", "b"), vectors, ("x", "y")).class_ids == (-1, -1)
    for ids, video, captions in (
        (("a",), vectors, ("x", "y")),
        (("a", "b"), vectors[0], ("x", "y")),
        (("a", "b"), vectors, ("x",)),
        ((), vectors[:0], ()),
    ):
        with pytest.raises(ValueError, match="a clip id, a vector and a caption for each pair"):
            RetrievalSample(ids, video, captions)


def test_an_evaluation_set_reads_parts_of_itself() -> None:
    held = EvaluationSet("x", clips("abc"), LetterReader())
    assert held.captions == ("a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"), "no caption is passed over"
    assert held.right_clips.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert held.videos(1, 3)[:, 0].tolist() == [ord("b"), ord("c")]
    assert held.class_ids.tolist() == [0, 1, 2]
    assert held.fingerprints() == {"2d": "letters"}


def test_evaluation_sets_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="0 clips"):
        EvaluationSet("x", [], LetterReader())
    with pytest.raises(ValueError, match="right one per sentence"):
        EvaluationSet("x", clips("ab"), LetterReader(), ("s",), np.array([0, 1]))
    with pytest.raises(ValueError, match="not one of the 2 clips"):
        EvaluationSet("x", clips("ab"), LetterReader(), ("s",), np.array([2]))
    with pytest.raises(ValueError, match=r"\(1, 2\), not \(2, 1\)"):
        EvaluationSet("x", clips("ab"), LetterReader(), ("s",), np.array([0]), np.ones((2, 1), np.float32))


def test_videos_are_counted_listed_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    ids = [f"v{at}" for at in range(50)]

    def problem(video_id: str) -> str | None:
        return "it is odd" if int(video_id[1:]) % 2 and int(video_id[1:]) < 24 else None

    with caplog.at_level(logging.WARNING):
        found = exclude_unusable("x", ids + ids, problem, max_missing_share=0.24)
    assert (found.total, len(found.reasons), found.share) == (50, 12, 0.24)
    assert "12 of 50 videos cannot be used.\n  v1: it is odd" in caplog.text
    assert "and 2 more" in caplog.text
    assert not found.complete
    with pytest.raises(MissingVideosError, match=r"(?s)12 of 50.*v1: it is odd.*That is 24.0%; at most 23.0%"):
        exclude_unusable("x", ids, problem, max_missing_share=0.23)


def test_nothing_missing_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert exclude_unusable("x", ["a"], lambda _: None, 0).complete
    assert not caplog.text


def test_no_videos_at_all_is_an_error() -> None:
    with pytest.raises(DatasetError, match="names no videos"):
        exclude_unusable("x", [], lambda _: None, 1)
    with pytest.raises(MissingVideosError):
        exclude_unusable("x", ["a"], lambda _: "gone", 1)
    with pytest.raises(ValueError, match="a share from 0 to 1, not 3"):
        exclude_unusable("x", ["a"], lambda _: None, 3)


def test_clips_are_left_out_of_usable_videos(caplog: pytest.LogCaptureFixture) -> None:
    unusable = UnusableVideos(9, {"z": "gone"})
    with caplog.at_level(logging.WARNING):
        kept, found = without_clips("x", clips("abcd"), {"b": "late"}, unusable, 0.25)
    assert [clip.clip_id for clip in kept] == ["a", "c", "d"]
    assert (found.reasons, found.clips, found.complete) == ({"z": "gone"}, {"b": "late"}, False)
    assert "1 clip of other videos cannot be used.\n  b: late" in caplog.text
    with pytest.raises(MissingVideosError, match=r"At most 20.0% of the 4 clips"):
        without_clips("x", clips("abcd"), {"b": "late"}, unusable, 0.2)


def test_long_and_unprintable_names_are_shortened_in_the_list() -> None:
    reasons = {"\x1b[2J": "a", **{f"{'v' * 5000}{at}": "b" for at in range(20)}}
    text = str(UnusableVideos(21, reasons, rows={"t.csv, line 3, column 'text'": "it is empty"}))
    assert "\x1b" not in text
    assert text.count("v" * 100 + ": b") == 1
    assert "and 19 more" in text
    assert "1 annotation row cannot be used.\n  t.csv, line 3, column 'text': it is empty" in text
    assert len(text) < 500
