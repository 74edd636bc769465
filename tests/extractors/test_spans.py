"""Clips of a file: their samples are samples of the file, and all share one decoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reeldex.extractors import decoders
from reeldex.extractors.decode import decode
from reeldex.extractors.engine import extract
from reeldex.extractors.frames import (
    DecodeSummary,
    ExtractionFailure,
    FrameBatch,
    VideoFeatures,
    VideoSource,
)
from reeldex.extractors.options import DecodeLimits, EngineOptions
from reeldex.extractors.spans import cut, span_samples
from reeldex.flows.extraction.engine_results import outcome_of
from tests.conftest import MakeVideo
from tests.extractors.conftest import LoadTiny
from tests.networks.reeldex_test_networks import TINY_2D, TINY_3D

Decoded = Iterator[FrameBatch | DecodeSummary]


@pytest.mark.parametrize(
    ("rate", "start", "end", "expected"),
    [
        (1, 0.0, None, (0, None)),
        (1, 0.0, 2.0, (0, 2)),
        (1, 0.5, 2.0, (1, 2)),
        (1, 0.5, 2.5, (1, 3)),
        (1, 1.2, 1.4, (1, 2)),  # no sample within: the one shown at 1.2 s
        (1, 2.0, None, (2, None)),
        (24, 0.5, 1.0, (12, 24)),
        (24, 0.1, 0.2, (3, 5)),
        (10, 0.3, 0.7, (3, 7)),  # 0.3 * 10 is 3.0000000000000004 in binary for some products
        (10, 1.1, 1.2, (11, 12)),
    ],
)
def test_samples_of_a_span(rate: int, start: float, end: float | None, expected: tuple[int, int | None]) -> None:
    assert span_samples(rate, start, end) == expected


def whole(path: Path) -> np.ndarray[Any, Any]:
    items = decode(VideoSource("v", str(path)), [TINY_3D], DecodeLimits())
    return np.concatenate([item.frames for item in items if isinstance(item, FrameBatch)])


def clips_of(path: Path, spans: Sequence[tuple[float, float | None]], chunk_bytes: int) -> list[Any]:
    """Frames of each clip, or its failure."""
    sources = [VideoSource(str(at), str(path), *span) for at, span in enumerate(spans)]
    found: list[Any] = [[] for _ in spans]
    for at, item in cut(decode(sources[0], [TINY_3D], DecodeLimits(), None, chunk_bytes), sources, [TINY_3D]):
        if isinstance(item, FrameBatch):
            found[at].append(item.frames)
        elif isinstance(item, ExtractionFailure):
            found[at] = item
        else:
            assert isinstance(item, DecodeSummary)
    for batches in found:
        if isinstance(batches, list):
            assert all(len(each) % TINY_3D.frames_per_clip == 0 for each in batches[:-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("chunk_bytes", [1, 300_000])
def test_frames_of_clips_are_slices_of_the_file(tmp_path: Path, make_video: MakeVideo, chunk_bytes: int) -> None:
    path = make_video(tmp_path / "v.mp4", seconds=2.2)
    spans: list[tuple[float, float | None]] = [
        (0.0, 0.5),
        (0.3, 1.7),
        (1.0, None),
        (0.0, None),
        (1.01, 1.02),
        (9.0, 10.0),
    ]
    frames, rate = whole(path), TINY_3D.frames_per_second
    *clips, beyond = clips_of(path, spans, chunk_bytes)
    for (start, end), batches in zip(spans, clips, strict=False):
        first, stop = span_samples(rate, start, end)
        assert np.array_equal(np.concatenate(batches), frames[first:stop])
    assert "starts at 9 s, but the picture ends" in beyond.message


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are decoded; counted in front of the real function."""
    started: list[str] = []

    def count(source: VideoSource, *arguments: Any, **named: Any) -> Decoded:  # noqa: ANN401
        started.append(source.path)
        return decode(source, *arguments, **named)

    monkeypatch.setattr(decoders, "decode", count)
    return started


@pytest.mark.slow
def test_clips_of_a_file_share_its_decoding(
    tmp_path: Path, make_video: MakeVideo, load_tiny: LoadTiny, decodings: list[str]
) -> None:
    path = str(make_video(tmp_path / "v.mp4", seconds=2.0))
    other = str(make_video(tmp_path / "w.mp4", seconds=1.0))
    clips = [VideoSource("a", path, 0.0, 1.0), VideoSource("b", path, 1.0), VideoSource("c", path, 0.5, 9.0)]
    networks = load_tiny()
    results = {r.source.video_id: r for r in extract([*clips, VideoSource("w", other)], networks, EngineOptions())}
    assert sorted(decodings) == [path, other]
    assert all(isinstance(each, VideoFeatures) for each in results.values())
    name = TINY_3D.name
    starts = {key: each.first_row_seconds[name] for key, each in results.items() if isinstance(each, VideoFeatures)}
    assert starts == {"a": 0.0, "b": 1.0, "c": 0.5, "w": 0.0}
    truncated = {key: each.summary.truncated for key, each in results.items() if isinstance(each, VideoFeatures)}
    assert truncated == {"a": False, "b": False, "c": True, "w": False}


def test_each_clip_of_a_broken_file_fails(tmp_path: Path, load_tiny: LoadTiny) -> None:
    (tmp_path / "v.mp4").write_text("no video")
    clips = [VideoSource(name, str(tmp_path / "v.mp4"), float(at)) for at, name in enumerate("ab", 1)]
    results = list(extract(clips, load_tiny(), EngineOptions()))
    assert [(type(each), each.source.video_id) for each in results] == [
        (ExtractionFailure, "a"),
        (ExtractionFailure, "b"),
    ]


@pytest.mark.parametrize(("start", "end"), [(-1.0, None), (2.0, 2.0), (3.0, 1.0), (float("nan"), None)])
def test_a_source_refuses_an_impossible_span(start: float, end: float | None) -> None:
    with pytest.raises(ValueError, match="0 <= start < end"):
        VideoSource("v", "/v", start, end)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "start", "end", "first_2d"),
    [
        (3.0, 2.5, 9.0, 2.0),  # within the last sample of the file
        (2.4, 2.2, None, 1.0),  # 2 samples for 2.4 s: the file's last one is still shown
        (2.4, 2.0, 2.4, 1.0),
    ],
)
def test_a_clip_at_the_end_of_a_file_has_the_sample_shown_when_it_starts(  # noqa: PLR0917 - a case and its fixtures
    tmp_path: Path,
    make_video: MakeVideo,
    load_tiny: LoadTiny,
    seconds: float,
    start: float,
    end: float | None,
    first_2d: float,
) -> None:
    path = str(make_video(tmp_path / "v.mp4", seconds=seconds, rate=20))
    networks = [each for each in load_tiny() if each.spec.name in {TINY_2D.name, TINY_3D.name}]
    whole_file, clip = sorted(
        extract([VideoSource("a", path), VideoSource("b", path, start, end)], networks, EngineOptions()),
        key=lambda each: each.source.video_id,
    )
    assert isinstance(whole_file, VideoFeatures)
    assert isinstance(clip, VideoFeatures), clip
    assert clip.first_row_seconds[TINY_2D.name] == first_2d
    row = int(first_2d * TINY_2D.frames_per_second)
    assert np.array_equal(clip.rows[TINY_2D.name], whole_file.rows[TINY_2D.name][row : row + 1])
    assert start <= clip.first_row_seconds[TINY_3D.name] < start + 1 / TINY_3D.frames_per_second


def test_one_extractor_alone_gives_the_last_clip_a_row(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", seconds=2.4, rate=20)
    sources = [VideoSource("in", str(path), 2.3), VideoSource("out", str(path), 2.41)]
    items = list(cut(decode(sources[0], [TINY_2D], DecodeLimits(), None, 1), sources, [TINY_2D]))
    (batch,) = [item for _, item in items if isinstance(item, FrameBatch)]
    *_, last = [item.frames for item in decode(sources[0], [TINY_2D], DecodeLimits()) if isinstance(item, FrameBatch)]
    assert np.array_equal(batch.frames, last[-1:])
    (failure,) = [item for _, item in items if isinstance(item, ExtractionFailure)]
    assert (failure.source.video_id, "starts at 2.41 s, but the picture ends at 2.4 s" in failure.message) == (
        "out",
        True,
    )


def outcomes_with(path: Path, spans: Sequence[tuple[float, float | None]], **changes: Any) -> list[Any]:  # noqa: ANN401
    """Outcome of each clip of a file whose summary is changed so: what a decoder says of a damaged one varies."""
    sources = [VideoSource(str(at), str(path), *span) for at, span in enumerate(spans)]
    items = decode(sources[0], [TINY_3D], DecodeLimits())
    changed = (replace(item, **changes) if isinstance(item, DecodeSummary) else item for item in items)
    summaries = {at: item for at, item in cut(changed, sources, [TINY_3D]) if isinstance(item, DecodeSummary)}
    return [
        outcome_of(VideoFeatures(source, {}, {}, summaries[at], summaries[at].first_row_seconds))
        for at, source in enumerate(sources)
    ]


def test_a_truncated_clip_names_the_end_of_the_picture_in_the_file(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", seconds=6.0)
    to_the_end, beyond, intact = outcomes_with(path, [(2.0, None), (2.0, 20.0), (1.0, 3.0)], truncated=True)
    assert "the video stream ends after 6.0 s" in to_the_end.message
    assert "should end at 20 s, but the picture ends at 6.0 s" in beyond.message
    assert (intact.truncated, intact.message) == (False, "")


def test_only_clips_with_damaged_rows_report_errors(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", seconds=4.0)
    errors = {"error_count": 2, "first_error": "bad"}
    rate = TINY_3D.frames_per_second
    spans: list[tuple[float, float | None]] = [(0.0, 2.0), (2.0, None)]
    known = outcomes_with(path, spans, **errors, damaged_samples={TINY_3D.name: ((3 * rate, 4 * rate),)})
    assert [(each.decode_error_count, "may be damaged" in each.message) for each in known] == [(0, False), (2, True)]
    unknown = outcomes_with(path, spans, **errors, damaged_samples={TINY_3D.name: None})
    assert [each.decode_error_count for each in unknown] == [2, 2]
