from __future__ import annotations

import csv
import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from reeldex.embedding.datasets import crosstask
from reeldex.embedding.datasets.crosstask_options import CrosstaskOptions
from reeldex.embedding.datasets.localization import AnnotatedVideo, Draws, LocalizationSet, Task, adaptive_runs
from reeldex.embedding.datasets.locations import open_features
from reeldex.embedding.errors import DatasetError, EmbeddingError, MissingVideosError, ScoresError
from reeldex.embedding.evaluation.localization import VideoRecall, localize, place_steps, summarise_recalls
from reeldex.embedding.evaluation.localization_table import PRIMARY_TASKS, localization_table, recall_in_words
from reeldex.embedding.evaluation.tables import report_json
from reeldex.embedding.model import ModelSpec
from reeldex.embedding.training.train import new_model
from reeldex.embedding.words.vectors import WordVectors
from reeldex.embedding.words.word2vec import open_word_vectors
from tests.embedding.crosstask_files import SECONDS, TASKS, crosstask_options, write_crosstask
from tests.embedding.feature_files import rows_of, write_npy

SPEC = ModelSpec(video_dim=10, embed_dim=7, word_dim=8, sentence_dim=5, max_words=4)


@pytest.fixture(scope="module")
def crosstask_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crosstask")
    write_crosstask(folder)
    return folder


@pytest.fixture
def files(tmp_path: Path, crosstask_template: Path) -> CrosstaskOptions:
    shutil.copytree(crosstask_template, tmp_path, dirs_exist_ok=True)
    return crosstask_options(tmp_path)


@pytest.fixture
def words(tmp_path: Path, source: Path) -> WordVectors:
    return open_word_vectors(source, cache_folder=tmp_path / "cache")


def slow_placement(similarities: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """All placements in order; of the best ones that with the earliest last step, then the one before."""
    seconds, steps = similarities.shape

    def total(placed: tuple[int, ...]) -> float:
        return sum(float(similarities[second, step]) for step, second in enumerate(placed))

    best = max(map(total, itertools.combinations(range(seconds), steps)))
    return min(
        (each for each in itertools.combinations(range(seconds), steps) if total(each) == best),
        key=lambda placed: placed[::-1],
    )


@pytest.mark.parametrize("levels", [0, 2])
@pytest.mark.parametrize(("seconds", "steps"), [(1, 1), (5, 1), (5, 5), (9, 4), (10, 3), (4, 3)])
def test_steps_are_placed_as_by_trying_all_placements(seconds: int, steps: int, levels: int) -> None:
    for seed in range(20):
        similarities = np.random.default_rng(seed).normal(size=(seconds, steps))
        if levels:
            similarities = np.round(similarities * levels)
        assert tuple(place_steps(similarities)) == slow_placement(similarities)


def test_what_cannot_be_placed_is_refused() -> None:
    with pytest.raises(ScoresError, match="3 steps cannot be placed in 2 seconds"):
        place_steps(np.zeros((2, 3)))
    with pytest.raises(ScoresError, match="NaN"):
        place_steps(np.array([[0.0], [np.nan]]))


@pytest.mark.parametrize(("rows", "target"), [(3, 2), (2, 3), (18, 12), (17, 12), (1, 5), (30, 7)])
def test_rows_are_pooled_as_by_adaptive_max_pooling(rows: int, target: int) -> None:
    values = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    pooled = np.stack([values[first:stop].max(axis=0) for first, stop in adaptive_runs(rows, target)])
    wanted = torch.nn.functional.adaptive_max_pool1d(torch.from_numpy(values.T[None]), target)[0].T
    assert np.array_equal(pooled, wanted.numpy())


def slow_recalls(
    folder: Path, words: WordVectors, *, inclusive_end: bool, val: bool
) -> dict[str, list[tuple[int, int]]]:
    """Hits and annotated steps of each video, from the files by the protocol's definitions and PyTorch's pooling."""
    model = new_model(SPEC, seed=4).eval()
    left_out = set() if val else {"val"}
    found: dict[str, list[tuple[int, int]]] = {}
    with (folder / "videos.csv").open() as file:
        listed = [(row[0], row[1]) for row in csv.reader(file)]
    for task, video in listed:
        annotation = folder / "annotations" / f"{task}_{video}.csv"
        if video in left_out or not annotation.exists():
            continue
        two_d, three_d = (torch.from_numpy(rows.astype(np.float32)) for rows in rows_of(video, SECONDS[video]))
        seconds = len(two_d)
        three_d = torch.nn.functional.adaptive_max_pool1d(three_d.T[None], seconds)[0].T
        joined = torch.cat([torch.nn.functional.normalize(rows, dim=1) for rows in (two_d, three_d)], dim=1)
        vectors = torch.from_numpy(words.sentence_vectors(TASKS[task], SPEC.max_words))
        with torch.no_grad():
            similarities = (model.embed_videos(joined) @ model.embed_sentences(vectors).T).double().numpy()
        placed = slow_placement(similarities)
        shown: dict[int, set[int]] = {}
        for row in csv.reader(annotation.read_text().splitlines()):
            last = math.ceil(float(row[2])) + (1 if inclusive_end else 0)
            inside = [at for at in range(seconds) if math.floor(float(row[1])) <= at < last]
            shown.setdefault(int(row[0]) - 1, set()).update(inside)
        annotated = [step for step, inside in shown.items() if inside]
        hits = sum(placed[step] in shown[step] for step in annotated)
        if annotated:
            found.setdefault(task, []).append((hits, len(annotated)))
    return found


@pytest.mark.parametrize("inclusive_end", [False, True])
@pytest.mark.parametrize("val", [False, True])
@pytest.mark.parametrize("kind", ["store", "npy"])
def test_recalls_are_those_of_the_slow_computation(
    tmp_path: Path, files: CrosstaskOptions, words: WordVectors, kind: str, *, inclusive_end: bool, val: bool
) -> None:
    options = files.replaced(inclusive_end=inclusive_end, include_validation=val)
    if val and kind == "npy":
        options = options.replaced(include_validation=False, val_csv=None)
    if kind == "npy":
        folders = write_npy(tmp_path / "npy", {f"{each}.mp4": rows_of(each, count) for each, count in SECONDS.items()})
        options = options.replaced(features={"folder_2d": folders[0], "folder_3d": folders[1]})
    test_set = crosstask.open_evaluation(options)
    wanted = slow_recalls(tmp_path, words, inclusive_end=inclusive_end, val=val)
    for batch_size in (1, 5, 256):
        result = localize(new_model(SPEC, seed=4), test_set, words, batch_size)
        assert [task.task_id for task in result.tasks] == list(TASKS)
        for task in result.tasks:
            videos = wanted[task.task_id]
            assert task.video_count == len(videos)
            assert task.recall == pytest.approx(np.mean([hits / count for hits, count in videos]))
            assert task.pooled_recall == pytest.approx(sum(hits for hits, _ in videos) / sum(n for _, n in videos))
        assert result.average_recall == pytest.approx(np.mean([task.recall for task in result.tasks]))
        assert result.pooled_recall == pytest.approx(np.mean([task.pooled_recall for task in result.tasks]))
        assert result.not_annotated == 1
    assert 0 < result.average_recall < 1, "the case tells right from wrong"


def spoken_set(folder: Path, videos: dict[str, list[tuple[int, int]]], draws: Draws) -> LocalizationSet:
    tasks = {task: Task(task, f"Task {task}", ("a", "b", "c")) for task in videos}
    store = write_crosstask(folder).features
    assert store is not None
    return LocalizationSet("crosstask", tasks, [AnnotatedVideo(t, "x", ()) for t in tasks], open_features(store), draws)


def test_draws_leave_out_videos_of_each_task(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    videos = {task: [(int(generator.integers(4)), 3) for _ in range(count)] for task, count in (("1", 9), ("2", 6))}
    recalls = [VideoRecall(task, "x", *each) for task, found in videos.items() for each in found]
    test_set = spoken_set(tmp_path, videos, Draws(count=7, train_videos=5, seed=11))
    drawn = summarise_recalls(test_set, recalls).drawn
    assert drawn is not None
    # Spelled out, with the same generator.
    random = np.random.RandomState(11)
    averages = []
    for _ in range(7):
        means = []
        for found in videos.values():
            trained = set(random.choice(len(found), 5, replace=False).tolist())
            tested = [hits / count for at, (hits, count) in enumerate(found) if at not in trained]
            means.append(sum(tested) / len(tested))
        averages.append(sum(means) / len(means))
    assert drawn.mean == pytest.approx(np.mean(averages))
    assert drawn.standard_deviation == pytest.approx(np.std(averages))
    assert drawn.standard_deviation > 0


@pytest.mark.parametrize("draws", [Draws(0, 1, 0), Draws(5, 6, 0)])
def test_without_draws_or_videos_left_there_is_no_mean_over_them(tmp_path: Path, draws: Draws) -> None:
    test_set = spoken_set(tmp_path, {"1": []}, draws)
    recalls = [VideoRecall("1", "x", 1, 2)] * 6 + [VideoRecall("1", "x", 0, 0)]
    result = summarise_recalls(test_set, recalls)
    assert (result.drawn, result.without_steps, result.average_recall, result.video_count) == (None, 1, 0.5, 6)
    with pytest.raises(ScoresError, match="No video of crosstask shows a step"):
        summarise_recalls(test_set, recalls[6:])


def test_the_table_stands_beside_the_published_figures(files: CrosstaskOptions, words: WordVectors) -> None:
    result = localize(new_model(SPEC, seed=4), crosstask.open_evaluation(files), words, 16)
    table = str(localization_table(result, "Step localization"))
    assert "Task 105222" in table
    assert "average" in table
    for figure in ("33.6", "33.5", "24.1", "31.6", "13.3", "22.4"):
        assert figure in table
    assert "30.7" not in table, "that task is not in this set"
    assert "of which these are 2: they cannot be compared" in table
    assert "1 video had no annotations" in table
    assert "of 8 words and" in table
    assert recall_in_words(result) == (
        f"crosstask (3 tasks, {result.video_count} videos): average recall {100 * result.average_recall:.1f}"
    )
    held = json.loads(json.dumps(report_json([result], {})))["sets"]["crosstask"]
    assert held["average_recall"] == result.average_recall
    assert [task["task_id"] for task in held["tasks"]] == list(TASKS)
    assert len(PRIMARY_TASKS) == 18


def test_a_video_with_fewer_seconds_than_steps_is_left_out(tmp_path: Path, files: CrosstaskOptions) -> None:
    (tmp_path / "tasks_primary.txt").write_text("16815\nt\nu\n8\n" + ",".join("abcdefgh") + "\n")
    with pytest.raises(MissingVideosError, match="four: it has 7 seconds with features, and its task has 8 steps"):
        crosstask.open_evaluation(files)
    test_set = crosstask.open_evaluation(files.replaced(max_missing_share=0.5))
    assert [video.video_id for video in test_set.videos] == ["three"]


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("tasks_primary.txt", "", "names no tasks"),
        ("tasks_primary.txt", "1\nt\nu\n2\na,b,c\n", "line 5: it has 3 steps separated by commas"),
        ("tasks_primary.txt", "\n1\nt\nu\n2\na,\n", "line 6: it has 2 steps"),
        ("tasks_primary.txt", "1\nt\nu\n1\na\n\n2\nt\n1\nb\n", "line 7: a task has 5 lines"),
        ("tasks_primary.txt", "1\nt\nu\n1\na\n\n1\nt\nu\n1\nb\n", "several tasks with the same id"),
        ("videos.csv", "105222\n", "line 1: it has 1 comma-separated column, and column 2 is required"),
        ("videos.csv", "105222,elsewhere,u\n", "has no annotations"),
        ("annotations/105222_-one.csv", "4,1,2\n", "line 1, column 'step': the task has the steps 1 to 3, not 4"),
        ("annotations/105222_-one.csv", "0,1,2\n", "steps 1 to 3, not 0"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, files: CrosstaskOptions, file: str, content: str, why: str) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(DatasetError, match=why):
        crosstask.open_evaluation(files)


def test_one_annotation_without_a_valid_time_is_left_out_alone(tmp_path: Path, files: CrosstaskOptions) -> None:
    before = crosstask.open_evaluation(files)
    with (tmp_path / "annotations" / "105222_-one.csv").open("a") as file:
        file.write("1,x,2\n2,NaN,3\n1,3,2\n3\n")
    with (tmp_path / "videos.csv").open("a") as file:
        file.write("16815\n")
    held = crosstask.open_evaluation(files)
    assert held.videos == before.videos
    assert [place.rpartition("/")[2].split(",")[0] for place in held.unusable.rows] == ["videos.csv"] + [
        "105222_-one.csv"
    ] * 4
    for path in (tmp_path / "annotations").iterdir():
        path.write_text("1,x,2\n")
    with pytest.raises(DatasetError, match="5 of 5 rows cannot be used"):
        crosstask.open_evaluation(files)


def test_what_is_missing_is_named(tmp_path: Path, files: CrosstaskOptions) -> None:
    for options, why in (
        (files.replaced(features=None), "needs features"),
        (files.replaced(tasks=None), "needs tasks"),
        (files.replaced(annotations=tmp_path / "none"), "no folder .*none with annotations"),
        (files.replaced(val_csv=tmp_path / "none.csv"), "no file .*none.csv"),
    ):
        with pytest.raises(DatasetError, match=why):
            crosstask.open_evaluation(options)
    folders = write_npy(tmp_path / "npy", {each: rows_of(each, count) for each, count in SECONDS.items()})
    twice = {"folder_2d": folders[0], "folder_3d": folders[1], "rows_per_second": (2.0, 1.5)}
    with pytest.raises(DatasetError, match=r"one 2-D row per second; those of '-one' are 0\.5 seconds apart"):
        crosstask.open_evaluation(files.replaced(features=twice))


def test_another_model_s_dimensions_are_refused(files: CrosstaskOptions, words: WordVectors) -> None:
    model = new_model(ModelSpec(12, 7, 8, 5, 4), seed=0)
    with pytest.raises(EmbeddingError, match="takes video vectors of 12"):
        localize(model, crosstask.open_evaluation(files), words, 4)


def test_a_header_and_empty_lines_are_no_rows(tmp_path: Path, files: CrosstaskOptions) -> None:
    before = crosstask.open_evaluation(files)
    for path in (tmp_path / "annotations").iterdir():
        path.write_text("step,start,end\n" + path.read_text().replace("\n", "\r\n\r\n"))
    assert crosstask.open_evaluation(files).videos == before.videos
