from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reeldex.embedding.block_pooling import pool_groups, pool_runs, pool_spans, pool_whole, rows_beyond_end
from reeldex.embedding.errors import FeaturesError
from reeldex.embedding.features import NpyFeatures, StoreFeatures
from reeldex.embedding.pooling import join_streams
from reeldex.storage.shard import RowTiming
from tests.embedding.feature_files import RATES, WIDTHS, make_damaged_store, make_store, rows_of, write_npy
from tests.embedding.slow_pooling import pool_rows, pool_span

RUNS = [(0, 1), (0, 12), (3, 7), (11, 12), (5, 5), (12, 12), (3, 7)]


@pytest.mark.parametrize("kind", ["rectified", "signed", "minus zero", "tiny", "float32"])
def test_runs_are_pooled_as_each_by_itself(kind: str) -> None:
    rows = np.random.default_rng(3).normal(size=(12, 64)).astype(np.float16)
    if kind == "rectified":
        rows = np.maximum(rows, np.float16(0))
    if kind == "minus zero":
        rows = np.copysign(np.maximum(rows, np.float16(0)), np.float16(-1)) * np.float16(-1)
        rows[:, 0] = -0.0
    if kind == "tiny":
        rows = np.abs(rows) * np.float16(1e-6)
        assert 0 < rows.max() < 6e-5, "subnormal halves"
    if kind == "float32":
        rows = rows.astype(np.float32)
    expected = np.stack([pool_rows(rows[first:stop]) for first, stop in RUNS])
    found = pool_runs(rows, RUNS)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_no_number_is_not_hidden_by_a_maximum(bad: float, dtype: type) -> None:
    rows: np.ndarray[Any, Any] = np.ones((6, 3), dtype=dtype)
    rows[4, 1] = bad
    with pytest.raises(ValueError, match="row 4 holds NaN or infinity"):
        pool_runs(rows, [(0, 2), (2, 6)])
    assert np.allclose(pool_runs(rows, [(0, 4), (5, 6)]), 3**-0.5), "rows that are not needed do not matter"


def test_no_runs() -> None:
    assert pool_runs(np.ones((6, 3), np.float16), []).shape == (0, 3)


def slow_spans(rows: tuple[np.ndarray[Any, Any], ...], spans: list[tuple[float, float]]) -> np.ndarray[Any, Any]:
    pooled = [
        [pool_span(each, start, end, rate) for start, end in spans] for each, rate in zip(rows, RATES, strict=True)
    ]
    # Both are normalised already; joining does not do it again where it would change the last digit.
    return np.concatenate([np.stack(each) for each in pooled], axis=1)


def test_spans_of_a_store_and_of_npy_files_are_those_of_the_slow_twin(tmp_path: Path) -> None:
    videos = {video_id: rows_of(video_id) for video_id in ("a", "b")}
    store = StoreFeatures(make_store(tmp_path, videos))
    npy = NpyFeatures(write_npy(tmp_path / "npy", videos))
    generator = np.random.default_rng(5)
    starts = generator.uniform(0, 25, size=50)
    spans = [(start, start + length) for start, length in zip(starts, generator.uniform(0, 9, size=50), strict=True)]
    spans += spans[:5]
    for video_id, rows in videos.items():
        expected = slow_spans(rows, spans)
        assert expected[:, : WIDTHS[0]].any(axis=1).sum() < len(spans), "some lie beyond the end"
        for source in (store, npy):
            assert np.array_equal(pool_spans(source, video_id, spans), expected)


def test_a_span_that_rounding_puts_behind_the_last_row(tmp_path: Path) -> None:
    rows = rows_of("a", seconds=20)
    source = NpyFeatures(write_npy(tmp_path, {"a": rows}))
    late = [(20.1, 20.5), (21.5, 22.0)]
    assert not pool_spans(source, "a", late).any()
    found = pool_spans(source, "a", late, slack_rows=1)
    assert np.array_equal(found[0], np.concatenate([pool_rows(each[-1:]) for each in rows]))
    assert not found[1].any()


def test_whole_videos_and_groups_of_runs(tmp_path: Path) -> None:
    rows = rows_of("a")
    source = NpyFeatures(write_npy(tmp_path, {"a": rows}))
    assert np.allclose(pool_whole(source, "a"), join_streams([pool_rows(each) for each in rows]), atol=1e-7)
    groups = [[(0, 2), (5, 6)], [(1, 4), (10, 11)]]
    expected = [pool_rows(each[[*range(*a), *range(*b)]]) for each, (a, b) in zip(rows, groups, strict=True)]
    assert np.array_equal(pool_groups(source, "a", groups), np.concatenate(expected))


def test_rows_beyond_the_end() -> None:
    timing = RowTiming(10, 0.0, 1.0)
    assert [rows_beyond_end(timing, (start, 99)) for start in (0, 9.9, 10, 11)] == [-9, 0, 1, 2]


def test_errors_name_the_video(tmp_path: Path) -> None:
    rows = rows_of("a")
    rows[1][3, 0] = np.nan
    source = NpyFeatures(write_npy(tmp_path, {"a": rows}))
    with pytest.raises(FeaturesError, match="3d features of the video 'a' cannot be used: row 3 holds NaN"):
        pool_whole(source, "a")
    with pytest.raises(FeaturesError, match="'a': A span needs"):
        pool_spans(source, "a", [(3, 2)])


def test_a_span_before_the_first_row_has_none_of_the_last(tmp_path: Path) -> None:
    video = rows_of("video1")
    source = StoreFeatures(make_damaged_store(tmp_path, {"video1": video}, {}, start_seconds=60.0))
    spans = [(0.0, 5.0), (59.0, 59.5), (59.0, 62.0), (79.0, 90.0)]
    found = pool_spans(source, "video1", spans, slack_rows=1)
    assert not found[0].any()
    own = slow_spans(video, [(0, 0), (0, 2), (19, 19.9)])
    assert np.array_equal(found[1], own[0]), "as little before the start as rounding explains"
    assert np.array_equal(found[2:], own[1:])
    assert not pool_spans(source, "video1", spans[:2]).any()
