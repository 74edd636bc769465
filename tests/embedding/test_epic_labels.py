from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reeldex.embedding.datasets.epic_labels import Segment, cut_segments, join_segments, open_evaluation, open_training
from reeldex.embedding.datasets.epic_options import PRESETS, EpicLabelOptions
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.errors import DatasetError, FeaturesError, MissingVideosError
from tests.embedding.feature_files import make_store, rows_of, write_npy
from tests.embedding.slow_pooling import pool_rows

# 20 seconds are 30 rows in 3-D.
LABELS = {
    "P01_01": ["background"] * 4 + ["take"] * 8 + ["wash"] * 3 + ["take"] * 10 + ["put"] * 5,
    "P02_07": ["cut"] * 29 + ["stir"],
}


@pytest.fixture
def options(tmp_path: Path) -> EpicLabelOptions:
    videos = {f"{video_id[:3]}/{video_id}": rows_of(video_id) for video_id in LABELS}
    folders = write_npy(tmp_path / "npy", videos)
    for kind in ("verb", "narration"):
        (tmp_path / "labels" / kind).mkdir(parents=True)
        for video_id, labels in LABELS.items():
            lines = [label if kind == "verb" else f"{label} the plate" for label in labels]
            (tmp_path / "labels" / kind / f"{video_id}.txt").write_text("\n".join(lines) + "\n")
    return EpicLabelOptions(
        train_labels=tmp_path / "labels",
        test_labels=tmp_path / "labels",
        features=FeatureLocation(folder_2d=folders[0], folder_3d=folders[1]),
    )


def test_labels_are_cut_where_they_change() -> None:
    assert cut_segments(LABELS["P01_01"]) == [
        Segment(0, 4, "background"),
        Segment(4, 12, "take"),
        Segment(12, 15, "wash"),
        Segment(15, 25, "take"),
        Segment(25, 30, "put"),
    ]
    assert cut_segments(LABELS["P02_07"])[1] == Segment(29, 30, "stir"), "a change at the very end counts"
    assert cut_segments([]) == []


@pytest.mark.parametrize(
    ("clips", "before", "filter_length", "expected"),
    [
        (1, 0, 0, ["b", "t", "w", "T", "p"]),
        (2, 0, 0, ["bt", "tw", "wT", "Tp", "p"]),
        (2, 1, 0, ["b", "bt", "tw", "wT", "Tp"]),
        (3, 0, 0, ["btw", "twT", "wTp", "Tp", "p"]),
        (3, 1, 0, ["b", "bt", "btw", "twT", "wTp"]),
        (2, 0, 3, ["bt", "tT", "Tp", "p"]),
        (2, 1, 4, ["t", "tT", "Tp"]),
        (2, 0, 99, []),
    ],
)
def test_consecutive_segments_are_joined(clips: int, before: int, filter_length: int, expected: list[str]) -> None:
    letters = {0: "b", 4: "t", 12: "w", 15: "T", 25: "p"}
    settings = EpicLabelOptions(clips_per_sample=clips, clips_before=before, clips_filter_length=filter_length)
    joined = join_segments(cut_segments(LABELS["P01_01"]), settings)
    assert ["".join(letters[each.first] for each in group) for group in joined] == expected


def slow_sample(
    labels: list[str], options: EpicLabelOptions, rows: tuple[np.ndarray[Any, Any], ...]
) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Captions and vectors of a video, row by row: which segment each row is in, and which rows a sample has."""
    segment_of = [sum(labels[at] != labels[at - 1] for at in range(1, row + 1)) for row in range(len(labels))]
    kept = [number for number in sorted(set(segment_of)) if segment_of.count(number) > options.clips_filter_length]
    samples = []
    for place in range(len(kept)):
        reach = range(options.clips_per_sample)
        places = [place - back for back in reversed(reach)] if options.clips_before else [place + on for on in reach]
        members = [kept[at] for at in places if 0 <= at < len(kept)]
        three_d = [row for row, number in enumerate(segment_of) if number in members]
        # Each 3-D row lasts 2/3 of a 2-D row: those that it touches.
        two_d = sorted(
            {
                second
                for row in three_d
                for second in range(len(rows[0]))
                if second < (row + 1) * 2 / 3 and second + 1 > row * 2 / 3
            }
        )
        caption = " ".join(labels[segment_of.index(number)] for number in members)
        samples.append((caption, np.concatenate([pool_rows(rows[0][two_d]), pool_rows(rows[1][three_d])])))
    return samples


@pytest.mark.parametrize("seed", range(6))
def test_samples_are_those_of_the_slow_twin(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    labels: list[str] = []
    while len(labels) < 30:
        labels += [draw.choice(["take", "put", "wash", "background"])] * draw.randint(1, 6)
    labels = labels[:30]
    rows = rows_of(f"v{seed}")
    (tmp_path / "v.txt").write_text("\n".join(labels) + "\n")
    store = make_store(tmp_path, {"v": rows})
    options = EpicLabelOptions(
        test_labels=tmp_path,
        features=FeatureLocation(store=store.path),
        labels="verb",
        clips_per_sample=draw.randint(1, 3),
        clips_before=draw.randint(0, 1),
        clips_filter_length=draw.randint(0, 2),
    )
    held = open_evaluation(options)
    expected = slow_sample(labels, options, rows)
    assert held.captions == tuple(caption for caption, _ in expected)
    assert np.allclose(held.videos(0, len(held.clips)), np.stack([vector for _, vector in expected]), atol=1e-7)


def test_training_and_evaluation_read_the_chosen_labels(options: EpicLabelOptions) -> None:
    training = open_training(options.replaced(clips_per_sample=2))
    assert len(training) == 7
    sample = training.sample(0, 0, 1)
    assert sample.captions == ("take the plate wash the plate",)
    assert sample.clip_ids == ("P01_01@rows4-15",)
    assert sample.class_ids == (-1,)
    verbs = open_evaluation(options.replaced(labels="verb", verb_only=True))
    assert verbs.captions == ("background", "take", "wash", "take", "put", "cut", "stir")


def test_classes_of_verbs(tmp_path: Path, options: EpicLabelOptions) -> None:
    verbs = options.replaced(labels="verb", verb_only=True)
    # cut, put, stir, take, wash; the background comes behind them.
    assert open_evaluation(verbs).class_ids.tolist() == [5, 3, 4, 3, 1, 0, 2]
    table = tmp_path / "verbs.csv"
    table.write_text("id,key,instances,category\n0,take,\"['take', 'put']\",x\n7,clean,\"['wash', 'rinse']\",y\n")
    with_table = verbs.replaced(verb_classes=table)
    assert open_evaluation(with_table).class_ids.tolist() == [8, 0, 7, 0, 0, 8, 8]
    # A joined sample has the class of its own segment: the first of those ahead, the last of those behind.
    ahead = open_evaluation(with_table.replaced(clips_per_sample=2))
    assert (ahead.captions[2], ahead.class_ids[2]) == ("wash take", 7)
    behind = open_evaluation(with_table.replaced(clips_per_sample=2, clips_before=1))
    assert (behind.captions[2], behind.class_ids[2]) == ("take wash", 7)


def test_published_features_with_two_rows_a_second(tmp_path: Path, options: EpicLabelOptions) -> None:
    generator = np.random.default_rng(0)
    rows = (generator.random((40, 6)).astype(np.float16), generator.random((30, 4)).astype(np.float16))
    folders = write_npy(tmp_path / "fast", {"P01_01": rows})
    fast = FeatureLocation(folder_2d=folders[0], folder_3d=folders[1], rows_per_second=(2.0, 1.5))
    held = open_evaluation(options.replaced(features=fast, max_missing_share=0.5))
    # Rows 4 to 12 in 3-D are floor(4 * 16/12) = 5 to ceil(12 * 16/12) = 16 in 2-D.
    assert np.array_equal(held.videos(1, 2)[0, :6], pool_rows(rows[0][5:16]))


def test_a_2d_stream_that_is_a_row_shorter_has_its_last_row(tmp_path: Path, options: EpicLabelOptions) -> None:
    two_d, three_d = rows_of("P02_07")
    folders = write_npy(tmp_path / "short", {"P02_07": (two_d[:-1], three_d)})
    short = FeatureLocation(folder_2d=folders[0], folder_3d=folders[1])
    held = open_evaluation(options.replaced(features=short, max_missing_share=0.5))
    assert held.clips[-1].clip_id == "P02_07@rows29-30"
    assert np.array_equal(held.videos(1, 2)[0, :6], pool_rows(two_d[-2:-1]))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda labels: labels * 2, "it has 60 labels and 30 rows of 3-D features"),
        (lambda labels: labels[:20], "it has 20 labels and 30 rows"),
        (lambda _: [], "its label file is empty"),
    ],
)
def test_label_files_that_do_not_fit(
    options: EpicLabelOptions, spoil: Callable[[list[str]], list[str]], why: str
) -> None:
    assert options.train_labels
    path = options.train_labels / "narration" / "P01_01.txt"
    path.write_text("\n".join(spoil(LABELS["P01_01"])) + "\n")
    with pytest.raises(MissingVideosError, match=f"P01_01: {why}"):
        open_training(options)
    training = open_training(options.replaced(max_missing_share=0.5))
    assert list(training.unusable.reasons) == ["P01_01"]
    assert {clip_id.partition("@")[0] for at in range(2) for clip_id in training.sample(0, 0, at).clip_ids} == {
        "P02_07"
    }


def test_two_labels_too_many_or_few_are_rounding(options: EpicLabelOptions) -> None:
    assert options.train_labels
    path = options.train_labels / "narration" / "P02_07.txt"
    path.write_text("\n".join(["cut"] * 31 + ["late"]) + "\n")
    training = open_training(options)
    assert training.sample(0, 0, 5).clip_ids == ("P02_07@rows0-30",)
    path.write_text("\n".join(["cut"] * 28) + "\n")
    assert open_training(options).sample(0, 0, 5).clip_ids == ("P02_07@rows0-28",)


def test_wrong_rates_are_noticed(options: EpicLabelOptions) -> None:
    assert options.features
    wrong = options.features.replaced(rows_per_second=(2.0, 1.5))
    with pytest.raises(MissingVideosError, match=r"its 20 rows of 2-D features end before.*check rows_per_second"):
        open_training(options.replaced(features=wrong))


def test_files_and_options_that_cannot_be(tmp_path: Path, options: EpicLabelOptions) -> None:
    with pytest.raises(DatasetError, match="needs train_labels"):
        open_training(options.replaced(train_labels=None))
    with pytest.raises(DatasetError, match="needs features"):
        open_training(options.replaced(features=None))
    with pytest.raises(DatasetError, match="holds no label files"):
        open_training(options.replaced(train_labels=tmp_path / "nowhere"))
    with pytest.raises(DatasetError, match="no segment is longer than clips_filter_length = 99"):
        open_training(options.replaced(clips_filter_length=99))
    assert options.train_labels
    (options.train_labels / "narration" / "P01_01.txt").write_text("a\n\nb\n")
    with pytest.raises(DatasetError, match=r"P01_01\.txt, line 2: it is empty"):
        open_training(options)
    with pytest.raises(ValueError, match="verb_only trains on classes of verbs"):
        EpicLabelOptions(verb_only=True)
    for wrong in ({"clips_per_sample": 0}, {"clips_before": 2}, {"clips_filter_length": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            EpicLabelOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'verb' or 'narration'"):
        EpicLabelOptions(labels="noun")  # type: ignore[arg-type]


def test_damaged_features_are_a_missing_video(tmp_path: Path, options: EpicLabelOptions) -> None:
    (tmp_path / "npy" / "resnet152.test" / "P01" / "P01_01.npy").write_bytes(b"damaged")
    with pytest.raises((MissingVideosError, FeaturesError), match="cannot be read as an array"):
        open_training(options)


def test_the_four_published_command_lines() -> None:
    assert {
        (preset.clips_per_sample, preset.clips_before, preset.labels, preset.epochs) for preset in PRESETS.values()
    } == {(2, 1, "narration", 75), (3, 1, "narration", 75), (2, 0, "verb", 100), (3, 0, "verb", 100)}
    for preset in PRESETS.values():
        EpicLabelOptions(
            clips_per_sample=preset.clips_per_sample, clips_before=preset.clips_before, labels=preset.labels
        )
