"""Damage within a file: the rows that it may concern."""

from __future__ import annotations

import logging
import random
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reeldex.extractors import complaints, resnet152, resnext101
from reeldex.extractors import decode as decoding
from reeldex.extractors.complaints import Complaints
from reeldex.extractors.damage import DamageTracker, Ranges, damaged_samples, merged, rows_of_samples
from reeldex.extractors.decode import decode
from reeldex.extractors.decoding_process import DecodingTask
from reeldex.extractors.engine import extract
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoFeatures, VideoSource
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.options import DecodeLimits, EngineOptions
from tests.extractors.conftest import LoadTiny
from tests.networks.reeldex_test_networks import TINY_2D
from tests.videos import cached_video, run_ffmpeg

SPECS = [resnet152.SPEC, resnext101.SPEC]
Frames = dict[str, np.ndarray[Any, Any]]
SECONDS = 8
CODECS = {
    "h264.mp4": ("-c:v", "libx264", "-g", "25", "-bf", "2"),
    "h264.ts": ("-c:v", "libx264", "-g", "25", "-bf", "2"),
    "long.mkv": ("-c:v", "libx264", "-g", "50", "-x264-params", "bframes=5:b-pyramid=normal:ref=6"),
    "hevc.mkv": ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=25:pools=none"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-b:v", "2M"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-g", "25", "-b:v", "2M"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-q:v", "5"),
}


def decoded(path: Path) -> tuple[Frames, DecodeSummary]:
    """All frames by extractor, and the summary."""
    parts: dict[str, list[np.ndarray[Any, Any]]] = {spec.name: [] for spec in SPECS}
    summary = None
    for item in decode(VideoSource("video", str(path)), SPECS, DecodeLimits()):
        if isinstance(item, FrameBatch):
            parts[item.extractor].append(item.frames)
        else:
            summary = item
    assert summary is not None
    return {name: np.concatenate(frames) for name, frames in parts.items()}, summary


def make(folder: Path, name: str) -> Path:
    source = ["-f", "lavfi", "-i", f"testsrc2=size=320x240:rate=25:duration={SECONDS},noise=alls=12"]
    return cached_video(folder / name, *source, "-pix_fmt", "yuv420p", *CODECS[name])


def damage(path: Path, at: float, seed: int = 0) -> Path:
    """A copy with some bytes replaced from the share `at` of the file on."""
    content, chance = bytearray(path.read_bytes()), random.Random(seed)  # noqa: S311 - bytes, not secrets
    start = int(at * len(content))
    for _ in range(60):
        content[start + chance.randrange(15_000)] ^= chance.randrange(1, 256)
    copy = path.with_name(f"damaged-{path.name}")
    copy.write_bytes(content)
    return copy


def differing_rows(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], frames_per_clip: int) -> set[int]:
    together = min(len(first), len(second))
    differ = np.flatnonzero((first[:together] != second[:together]).any(axis=(1, 2, 3)))
    return {int(frame) // frames_per_clip for frame in differ}


def rows_in(ranges: Ranges) -> set[int]:
    return {row for first, stop in ranges for row in range(first, stop)}


@pytest.mark.slow
@pytest.mark.parametrize("name", CODECS)
def test_rows_with_damaged_pictures_are_found(tmp_path: Path, name: str) -> None:
    intact = make(tmp_path, name)
    expected, summary = decoded(intact)
    assert summary.error_count == 0
    assert summary.damaged_rows == {spec.name: () for spec in SPECS}
    # One that ffmpeg notices: of damaged HEVC, 5.1 and 9.0 decode half without an error, each another half.
    found, summary = decoded(damage(intact, at=0.4, seed=1))
    assert summary.error_count > 0
    assert NoteKind.DAMAGED_ROWS in summary.notes
    for spec in SPECS:
        ranges = summary.damaged_rows[spec.name]
        assert ranges is not None
        rows = rows_in(ranges)
        damaged = differing_rows(expected[spec.name], found[spec.name], spec.frames_per_clip)
        assert damaged <= rows
        row_count = -(-len(found[spec.name]) // spec.frames_per_clip)
        assert rows <= set(range(row_count))
        assert len(rows) <= 0.8 * row_count, "most of the file is intact"
    assert rows, "some clips show damaged pictures"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h264.mp4", "long.mkv"])
def test_rows_that_differ_from_run_to_run_are_marked(tmp_path: Path, name: str) -> None:
    video = damage(make(tmp_path, name), at=0.2, seed=1)
    first, first_summary = decoded(video)
    for _ in range(2):
        again, summary = decoded(video)
        assert summary.damaged_rows == first_summary.damaged_rows
        assert "differ from run to run" in summary.notes[NoteKind.DAMAGED_ROWS]
        for spec in SPECS:
            ranges = summary.damaged_rows[spec.name]
            assert ranges is not None
            assert differing_rows(first[spec.name], again[spec.name], spec.frames_per_clip) <= rows_in(ranges)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-no_such_option",), ("-loglevel", "quiet")])
def test_a_second_decoding_that_fails_or_says_nothing_leaves_the_features_and_unknown_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    video = damage(make(tmp_path, "h264.mp4"), at=0.4)
    expected, _ = decoded(video)
    # The second one, the only traced one, ends at an option that no ffmpeg knows, or is silent.
    monkeypatch.setattr(complaints, "TRACED", options)
    found, summary = decoded(video)
    assert {name: len(frames) for name, frames in found.items()} == {name: len(each) for name, each in expected.items()}
    assert summary.damaged_rows == {spec.name: None for spec in SPECS}
    assert "resnet152: unknown" in summary.notes[NoteKind.DAMAGED_ROWS]


@pytest.mark.slow
def test_a_video_with_damage_everywhere_has_no_sound_row(tmp_path: Path) -> None:
    video = make(tmp_path, "h264.mp4")
    content = bytearray(video.read_bytes())
    start = content.index(b"mdat") + 2000
    for at in range(start, len(content) - 8000, 700):
        content[at] ^= 0x55
    video.write_bytes(content)
    found, summary = decoded(video)
    assert summary.damaged_rows["resnet152"] is not None
    assert len(rows_in(summary.damaged_rows["resnet152"])) >= len(found["resnet152"]) - 1


@pytest.mark.slow
def test_sound_rows_of_a_damaged_file_are_those_of_the_intact_one(tmp_path: Path, load_tiny: LoadTiny) -> None:
    intact = make(tmp_path, "h264.mp4")
    damaged = damage(intact, at=0.6)
    networks = load_tiny()
    seconds: list[float] = []
    sources = [VideoSource("intact", str(intact)), VideoSource("damaged", str(damaged))]
    results = {
        result.source.video_id: result
        for result in extract(sources, networks, EngineOptions(chunk_bytes=1), seconds.append)
    }
    whole, part = results["intact"], results["damaged"]
    assert isinstance(whole, VideoFeatures)
    assert isinstance(part, VideoFeatures)
    for name, rows in part.rows.items():
        assert len(rows) == len(whole.rows[name])
        ranges = part.summary.damaged_rows[name]
        assert ranges
        sound = sorted(set(range(len(rows))) - rows_in(ranges))
        assert np.array_equal(rows[sound], whole.rows[name][sound])
    assert min(seconds) > 0
    assert sum(seconds) == pytest.approx(2 * SECONDS, abs=0.1)


@pytest.mark.slow
def test_clips_of_a_damaged_file_know_their_own_rows(
    tmp_path: Path, load_tiny: LoadTiny, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    damaged = damage(make(tmp_path, "h264.mp4"), at=0.5)
    whole = VideoSource("whole", str(damaged))
    clips = [VideoSource("before", str(damaged), 0.0, 3.0), VideoSource("within", str(damaged), 3.0, 8.0)]
    results = {
        result.source.video_id: result
        for result in extract([whole, *clips], load_tiny(), EngineOptions(chunk_bytes=1))
        if isinstance(result, VideoFeatures)
    }
    assert len(results) == 3
    of_whole, before, within = (results[name].summary for name in ("whole", "before", "within"))
    assert before.damaged_rows == {"tiny2d": (), "tiny3d": ()}
    assert NoteKind.DAMAGED_ROWS not in before.notes
    assert NoteKind.DAMAGED_ROWS in within.notes
    expected, found = of_whole.damaged_rows["tiny2d"], within.damaged_rows["tiny2d"]
    assert expected
    assert found == tuple((first - 3, stop - 3) for first, stop in expected)
    rows = results["within"].rows["tiny2d"]
    sound = sorted(set(range(len(rows))) - rows_in(found))  # the others may differ between two decodings
    assert sound
    assert np.array_equal(rows[sound], results["whole"].rows["tiny2d"][3:][sound])


def test_why_damaged_rows_are_not_known_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # No file is known whose second decoding fails, but for one that another program removes meanwhile.
    caplog.set_level(logging.INFO)
    damaged = damage(make(tmp_path, "h264.mp4"), at=0.5)
    once = decoding._decode_once

    def removed_before_the_second(task: DecodingTask, *, traced: bool) -> Any:  # noqa: ANN401
        if traced:
            damaged.unlink()
        return once(task, traced=traced)

    monkeypatch.setattr(decoding, "_decode_once", removed_before_the_second)
    (summary,) = (
        each
        for each in decode(VideoSource("a", str(damaged)), [TINY_2D], DecodeLimits())
        if isinstance(each, DecodeSummary)
    )
    assert summary.damaged_rows == {"tiny2d": None}
    assert f"{damaged}: which rows are damaged is not known: a second decoding failed: " in caplog.text


def track(events: str) -> Ranges | None:
    """Follow events: k a keyframe, p another picture, e an error of the decoder, f one of another part of ffmpeg."""
    tracker = DamageTracker()
    for event in events:
        if event in "kp":
            tracker.picture(is_keyframe=event == "k")
        elif event == "u":
            tracker.unplaced()
        else:
            tracker.error(of_decoder=event == "e")
    return tracker.damaged()


@pytest.mark.parametrize(
    ("events", "damaged"),
    [
        ("", ()),
        ("kppkpp", ()),
        ("kpp" + "e" + "p" * 30 + "kpp", ((3, 33),)),
        ("kpp" + "e" + "pkp" + "p" * 20 + "kpp", ((3, 26),)),  # a keyframe that may have been decoded before
        ("kpp" + "f" + "p" * 20 + "k" + "p" * 20 + "kp", ((3, 44),)),  # found ahead of the decoder
        ("kpp" + "e" + "p" * 30, ((3, 34),)),
        ("kppe", ((3, 4),)),
        ("kpp" + "e" + "p" * 30 + "kpp" + "e" + "p" * 30 + "k", ((3, 33), (36, 66))),
        ("kpp" + "e" + "p" * 10 + "e" + "p" * 10 + "k" + "p" * 20 + "k", ((3, 44),)),
        ("kkkekkk", ((3, 4),)),  # no picture refers to another one
        ("e" + "p" * 20 + "kp", ((0, 20),)),
        ("ukpp", None),
        ("ukpp" + "e" + "p" * 20 + "kp", ((3, 23),)),
    ],
)
def test_pictures_from_an_error_to_a_keyframe_may_be_damaged(events: str, damaged: Ranges | None) -> None:
    assert track(events) == damaged


@pytest.mark.parametrize(
    ("pictures", "frames_per_clip", "rows"),
    [
        (((0, 2),), 1, ((0, 1),)),
        (((1, 3),), 1, ((0, 1),)),
        (((2, 3),), 1, ()),  # no sample shows it
        (((2, 5),), 1, ((1, 3),)),
        (((4, 7),), 1, ((2, 4),)),  # up to the end
        (((2, 4), (4, 5)), 1, ((1, 3),)),
        (((2, 5),), 2, ((0, 2),)),
        (((6, 7),), 1, ()),  # after the last picture
        ((), 1, ()),
        (None, 1, None),
    ],
)
def test_rows_are_those_of_the_samples_that_show_the_pictures(
    pictures: Ranges | None, frames_per_clip: int, rows: Ranges | None
) -> None:
    # Six pictures, two per sample, the fourth sample shows the last one again; their end comes last.
    first_samples = array("q", [0, 0, 1, 1, 2, 3, 4])
    samples = damaged_samples(pictures, 6, first_samples, 4)
    assert rows_of_samples(samples, 0, 4, frames_per_clip) == rows


@pytest.mark.parametrize(
    ("first", "stop", "rows"),
    [(0, 64, ((1, 3),)), (16, 64, ((0, 2),)), (24, 64, ((0, 1),)), (0, 20, ()), (40, 64, ()), (20, 24, ((0, 1),))],
)
def test_rows_of_a_clip_begin_at_its_first_sample(first: int, stop: int, rows: Ranges) -> None:
    assert rows_of_samples(((20, 40),), first, stop, 16) == rows


def test_rows_are_unknown_if_pictures_were_not_counted_alike() -> None:
    assert damaged_samples(((0, 1),), 6, array("q", [0, 0]), 4) is None


def test_ranges_that_touch_are_one() -> None:
    assert merged([(0, 2), (1, 3), (3, 4), (6, 7)]) == ((0, 4), (6, 7))


def read(counted: Complaints, tmp_path: Path, text: str) -> None:
    (tmp_path / "messages").write_text(text)
    with (tmp_path / "messages").open("rb") as file:
        list(counted.read_from(file.fileno()))


def test_without_a_trace_errors_are_counted(tmp_path: Path) -> None:
    counted = Complaints("mov", "h264", traced=False)
    read(counted, tmp_path, "[h264 @ 0x1] bad\n\n[h264 @ 0x1] worse\n")
    assert (counted.count, counted.first) == (2, "[h264] bad")


def test_titles_are_not_errors(tmp_path: Path) -> None:
    complaints = Complaints("mov", "h264", traced=True)
    title = "[info]     title : [error] decoder -> keyframe:1\n[info]           : [h264 @ 0x1] [error] x\n"
    read(complaints, tmp_path, f"{title}[info] Stream mapping:\n")
    assert (complaints.count, complaints.tracker.pictures, complaints.tracker.damaged()) == (0, 0, ())


def test_pictures_are_counted_that_continue_what_another_thread_says(tmp_path: Path) -> None:
    # As ffmpeg 9 writes them on a busy machine: in the midst of the description of an output.
    complaints = Complaints("mov", "h264", traced=True)
    picture = "decoder -> pts:512 pts_time:0.04 pkt_dts:512 duration:512 keyframe:{} frame_type:1 time_base:1/12800"
    own = "[vist#0:0/h264 @ 0x1] [dec:h264 @ 0x2] [info] "
    messages = [
        "[info] Stream mapping:",
        own + picture.format(1),
        "[info] Output #1, image2pipe, to 'pipe:4':",
        "[info]     encoder         : " + picture.format(0),
        "[info] Lavf63.1.102",
        "[info]   Stream #1:0: Video: ppm, rgb24, 298x224, q=2-31, 200 kb/s, " + picture.format(0),
        "[info] 1 fps, encoder <- type:video frame_pts:0 frame_pts_time:0 time_base:1/1",
        "[info] 1 tbn",
        "[dec:h264 @ 0x2] [error] error while decoding MB 3 4",
        own + picture.format(0),
    ]
    read(complaints, tmp_path, "\n".join(messages) + "\n")
    assert (complaints.count, complaints.tracker.pictures, complaints.tracker.damaged()) == (1, 4, ((3, 5),))


@pytest.mark.slow
def test_outputs_are_described_without_the_titles_of_the_file(tmp_path: Path) -> None:
    plain = damage(make(tmp_path, "h264.mp4"), at=0.5)
    title = "decoder -> pts:0 keyframe:1 frame_type:1"
    titles = ["-metadata", f"title={title}", "-metadata:s:v", f"handler_name={title}", "-metadata:s:v", "language=deu"]
    titled = tmp_path / "titled.mp4"
    run_ffmpeg("-v", "quiet", "-i", plain, "-map", "0", "-c", "copy", *titles, titled)
    expected, found = decoded(plain)[1].damaged_rows, decoded(titled)[1].damaged_rows
    assert found == expected
    assert all(found.values())
