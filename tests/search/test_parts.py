"""The parts of an index that no search shows by itself: segments, the sample for the recall, captions by id."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from reeldex.embedding.caption_files import open_captions
from reeldex.embedding.captions import VideoCaptions
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.model import TextVideoEmbedding
from reeldex.embedding.training.checkpoint import load_checkpoint
from reeldex.search.ann_index import build_ann_index
from reeldex.search.moment_table import MomentTable
from reeldex.search.moments import Window
from reeldex.search.options import IndexOptions
from reeldex.search.ranking import Ranker
from reeldex.search.recall import RecallSample, draw_sample, exact_thresholds, measure, settle_nprobe
from reeldex.search.segments import open_segment, write_segment
from reeldex.search.sentences import SentenceTower, text_tower
from reeldex.search.store_videos import captions_of
from reeldex.search.tower import VideoTower
from reeldex.search.video_records import VideoRecord, VideoRecords
from tests.search.library import SPEC, make_library

DIM = 12
COUNTS = (5, 1, 40, 3)


@pytest.fixture
def table(tmp_path: Path) -> MomentTable:
    """Two segments; the second video of the first is no longer in use."""
    generator = np.random.default_rng(0)
    records, next_id = [], 0
    for segment, counts in ((1, COUNTS[:3]), (2, COUNTS[3:])):
        row = 0
        with write_segment(tmp_path, segment, DIM) as writer:
            for at, count in enumerate(counts):
                writer.add_windows([Window(each, each + 1, f"{segment} {at} {each} ü") for each in range(count)])
                writer.add_embeddings(generator.normal(size=(count, DIM)))
                records.append(VideoRecord(f"v{segment}{at}", "/v", 9.0, "", 0, segment, row, next_id, count))
                row, next_id = row + count, next_id + count
    opened = {1: open_segment(tmp_path, 1, sum(COUNTS[:3]), DIM), 2: open_segment(tmp_path, 2, COUNTS[3], DIM)}
    return MomentTable(VideoRecords(record for record in records if record.video_id != "v11"), opened, DIM)


def test_moments_are_found_by_their_ids(table: MomentTable) -> None:
    ids = table.ids()
    assert ids.tolist() == [*range(5), *range(6, 49)]
    assert len(table) == 48
    for moment_id in (0, 4, 6, 45, 46, 48):
        record, window = table.window(moment_id)
        segment, video = int(record.video_id[1]), int(record.video_id[2])
        assert window.caption == f"{segment} {video} {moment_id - record.first_id} ü"
    blocks = list(table.blocks())
    assert np.concatenate([block_ids for block_ids, _ in blocks]).tolist() == ids.tolist()
    everything = np.concatenate([block for _, block in blocks])
    shuffled = np.random.default_rng(1).permutation(len(ids))
    assert np.array_equal(table.embeddings(ids[shuffled]).astype(np.float32), everything[shuffled])
    query = np.random.default_rng(2).normal(size=DIM).astype(np.float32)
    scores = table.scores(query, ids[shuffled])
    assert np.allclose(scores, everything[shuffled] @ query, atol=1e-5)
    assert np.array_equal(scores, np.concatenate([table.scores(query, ids[[at]]) for at in shuffled]))


def test_videos_and_their_moments_are_found_and_joined_to_runs(table: MomentTable) -> None:
    assert [record.video_id for record in table.records] == ["v10", "v12", "v20"]
    assert [table.find(video_id) for video_id in ("v10", "v12", "v20", "", "v11", "v2", "v3")] == [0, 1, 2, *[None] * 4]
    assert table.ids([2, 0]).tolist() == [46, 47, 48, *range(5)]
    assert table.ids([]).tolist() == []
    runs = [(run.segment, run.first_row, run.first_id, run.count) for run in table.runs()]
    assert runs == [(1, 0, 0, 5), (1, 6, 6, 40), (2, 0, 46, 3)]
    assert [run.first_id for run in table.runs(6)] == [6, 46]
    assert list(table.runs(49)) == []
    neighbours = VideoRecords([table.records[0], VideoRecord("a", "/v", 9.0, "", 0, 1, 5, 5, 1)])
    joined = MomentTable(neighbours, table.segments, DIM)
    assert [(run.first_row, run.first_id, run.count) for run in joined.runs()] == [(0, 0, 6)]
    assert joined.by_video_id.tolist() == [1, 0]


def test_blocks_are_bounded(table: MomentTable, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate([block for _, block in table.blocks()])
    monkeypatch.setattr("reeldex.search.moment_table.BLOCK_BYTES", 4 * DIM * 7)
    blocks = [block for _, block in table.blocks()]
    assert max(map(len, blocks)) == 7
    assert np.array_equal(np.concatenate(blocks), whole)


def test_a_segment_is_plain_npy_and_not_published_when_it_is_incomplete(tmp_path: Path) -> None:
    def write_one_too_few() -> None:
        with write_segment(tmp_path, 1, 4) as writer:
            writer.add_windows([Window(0, 1), Window(1, 2)])
            writer.add_embeddings(np.ones((1, 4)))

    with pytest.raises(ValueError, match="2 moments have 1 embeddings"):
        write_one_too_few()
    assert list(tmp_path.iterdir()) == []
    with write_segment(tmp_path, 1, 4) as writer:
        writer.add_windows([Window(0, 1), Window(1, 2)])
        writer.add_embeddings(np.ones((1, 4)))
        writer.add_embeddings(np.zeros((1, 4)))
    held = np.load(tmp_path / "segment-00001.embeddings.npy")
    assert (held.dtype, held.tolist()) == (np.float16, [[1] * 4, [0] * 4])
    assert np.load(tmp_path / "segment-00001.moments.npy")["end_seconds"].tolist() == [1, 2]


def test_recall_is_the_share_of_the_ten_best_that_are_found(table: MomentTable) -> None:
    ann_index = build_ann_index(table, IndexOptions(), "IVF4,SQ8")
    queries = np.random.default_rng(3).normal(size=(30, DIM)).astype(np.float32)
    thresholds = exact_thresholds(table, queries)
    everything = np.concatenate([block for _, block in table.blocks()])
    tenth = np.sort(queries @ everything.T, axis=1)[:, -10]
    assert np.allclose(thresholds, tenth)
    few = Ranker(table, ann_index, 20, 1)
    found = [set(few.first(query, 10)[0].tolist()) for query in queries]
    wanted = [set(table.ids()[np.argsort(-(everything @ query))[:10]].tolist()) for query in queries]
    share = np.mean([len(one & other) / 10 for one, other in zip(found, wanted, strict=True)])
    assert measure(few, queries, thresholds) == pytest.approx(share)
    assert share < 1
    nprobe, recall = settle_nprobe(table, ann_index, 48, 0, RecallSample(queries, "synthetic"))
    assert (nprobe, recall.at_10) == (4, 1.0)


def test_the_sample_is_captions_where_there_are_any(tmp_path: Path) -> None:
    library = make_library(tmp_path / "library", {})
    sentences = SentenceTower(lambda: text_tower(load_checkpoint(library.checkpoint)), library.words)
    assert sentences.frequent_words(3) == ["chop", "the", "onion"]
    with write_segment(tmp_path, 3, 24) as writer:
        writer.add_windows([Window(0, 1, "nothing known"), Window(1, 2, "chop"), Window(2, 3, "salt")])
        writer.add_embeddings(np.eye(3, 24))
    spoken = MomentTable(
        VideoRecords([VideoRecord("v", "/v", 3, "", 0, 3, 0, 0, 3)]), {3: open_segment(tmp_path, 3, 3, 24)}, 24
    )
    sample = draw_sample(spoken, sentences, 5)
    assert sample.kind == "captions"
    assert np.array_equal(sample.queries, sentences.embed(["chop", "salt"]))
    assert np.allclose(exact_thresholds(spoken, sample.queries), (sample.queries[:, :3]).min(axis=1))


def test_a_moment_has_the_same_embedding_at_every_place_of_a_batch() -> None:
    torch.manual_seed(0)
    rows = np.random.default_rng(0).random((1400, SPEC.video_dim), dtype=np.float32)
    model = TextVideoEmbedding(SPEC)

    def embedded(ahead: int) -> npt.NDArray[np.float16]:
        tower = VideoTower(model, 7, "cpu")
        pushed = tower.push(np.concatenate([rows[:ahead], rows]))
        return np.concatenate([*pushed, tower.flush()])[ahead:]

    first = embedded(0)
    for ahead in range(1, 7):
        assert np.array_equal(embedded(ahead), first)


def test_captions_are_found_by_id_or_name_and_bad_ones_refused(tmp_path: Path) -> None:
    good = {"start": [0], "end": [2], "text": ["chop"]}
    (tmp_path / "c.json").write_text(
        json.dumps({"a": good, "x/b.mp4": good, "bad": {"start": [3], "end": [2], "text": ["?"]}})
    )
    captions = open_captions(tmp_path / "c.json", tmp_path / "cache")
    wanted = VideoCaptions((0.0,), (2.0,), ("chop",))
    assert captions_of(captions, "x/a.webm") == wanted
    assert captions_of({"a": wanted}, "x/a.webm") == wanted
    assert captions_of(captions, "x/b.mp4") == wanted
    assert captions_of(captions, "y/b.mp4") is None
    assert captions_of(None, "a") is None
    with pytest.raises(DatasetError, match="'bad' cannot be used"):
        captions_of(captions, "bad.mp4")


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_seconds": 0.0},
        {"stride_seconds": 9.0},
        {"stride_seconds": float("nan")},
        {"min_caption_seconds": -1.0},
        {"pca_dim": -1},
        {"rerank_candidates": 0},
        {"factory": " "},
        {"missing_files": "forget"},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, float | int | str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        IndexOptions(**wrong)  # type: ignore[arg-type]
