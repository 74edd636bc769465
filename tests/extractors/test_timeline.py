"""Times that jump: tables of the decisions, and files whose packets carry wrong times."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reeldex.extractors import ffmpeg, resnet152, resnext101
from reeldex.extractors.decode import decode
from reeldex.extractors.errors import DecodeError, FailureReason
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoSource
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.options import DecodeLimits
from reeldex.extractors.timeline import Timeline, shift_in_samples
from tests.extractors.unchanged_frames import passthrough_arguments
from tests.videos import cached_video, run_ffmpeg

SPECS = [resnet152.SPEC, resnext101.SPEC]
STEP = 40


def repaired(
    times: list[int | None], end_seconds: float | None = None, max_gap_seconds: float = 600.0
) -> tuple[list[int | None], Timeline]:
    """The repaired times in milliseconds."""
    timeline = Timeline(end_seconds, max_gap_seconds)
    shifts = [shift for time in times for shift in timeline.push(time)] + timeline.finish()
    assert len(shifts) == len(times)
    return [None if time is None else time + shift for time, shift in zip(times, shifts, strict=True)], timeline


def even(start: int, count: int, step: int = STEP) -> list[int | None]:
    return [start + step * at for at in range(count)]


@pytest.mark.parametrize(
    "times",
    [
        [],
        [0],
        [None, None],
        even(0, 100),
        even(-1300, 100),
        even(20_000, 100),  # a late start
        even(0, 30, 7000),  # a slide show
        [*even(0, 50), *even(300_000, 50)],  # a gap that stays
        [*even(0, 50), None, None, *even(2000, 50)],
        [0, 40, 120, 80, 160, 200],  # a step back of less than a second
        [0, 43_200_000, 86_400_000, 86_401_000],
    ],
)
def test_times_that_may_be_right_are_kept(times: list[int | None]) -> None:
    found, timeline = repaired(times)
    assert found == times
    assert timeline.report.repaired() is None


@pytest.mark.parametrize(
    ("times", "end_seconds"),
    [
        ([*even(0, 75), 303_000, *even(3040, 75)], None),
        ([*even(0, 75), 5000, *even(3040, 75)], None),
        ([*even(0, 75), 303_000, 503_040, *even(3080, 74)], None),
        ([*even(0, 75), *even(303_000, 25), *even(4000, 51)], None),
        ([*even(0, 75), 0, *even(3040, 75)], None),  # too early
        ([*even(0, 75), *even(0, 76)], None),  # begins again
        ([*even(0, 50), *even(0, 50), *even(0, 51)], None),
        ([*even(0, 75), *even(303_000, 76)], 6.0),  # beyond the end that the file states
        ([*even(0, 149), 305_960, 306_000], 6.0),
        ([0, 300_040, *even(80, 149)], None),
        ([*even(0, 75), 50_000_000, *even(3040, 75)], None),  # beyond every limit, but the rate is known
    ],
)
def test_times_that_jump_continue_those_before_them(times: list[int | None], end_seconds: float | None) -> None:
    found, timeline = repaired(times, end_seconds)
    assert found == even(0, 151)
    said = timeline.report.repaired()
    assert said is not None
    assert "timestamps repaired" in said
    assert "of 150 pictures" in said, "the end of the last picture is not one"
    assert timeline.report.gaps == []


def test_a_jump_beyond_every_limit_is_repaired_only_if_pictures_followed_each_other() -> None:
    found, _ = repaired([0, 43_200_000, 1, 2])
    assert found[:2] == [0, 43_200_000], "which the limit of gaps then refuses"


def test_a_first_picture_that_is_late_comes_first() -> None:
    found, _ = repaired([300_000, *even(40, 150)])
    assert found[1:] == even(40, 150)
    assert found[0] is not None
    assert found[0] <= 40


def test_what_waits_is_bounded_by_time_and_number() -> None:
    timeline = Timeline(None, 600.0)
    known = [len(timeline.push(time)) for time in [*even(0, 10), *even(300_000, 300)]]
    assert sum(known[:11]) == 10, "the jump itself waits"
    assert sum(known) == 310, "it is accepted after ten seconds"
    still = Timeline(None, 600.0)
    assert sum(len(still.push(time)) for time in [0, 40, *[300_000] * 6000]) == 6002


def test_long_gaps_are_reported() -> None:
    _, timeline = repaired([*even(20_000, 50), *even(322_000, 50), *even(333_000, 50)])
    assert [round(seconds) for _, seconds in timeline.report.gaps] == [20, 300]
    said = timeline.report.long_gaps()
    assert said is not None
    assert "2 times" in said
    assert "300.0 s from 22.0 s on" in said


@pytest.mark.parametrize(("shift", "rate", "samples"), [(-300_000, 1, -300), (-300_000, 24, -7200), (520, 24, 12)])
def test_a_shift_is_rounded_to_samples(shift: int, rate: int, samples: int) -> None:
    assert shift_in_samples(shift, rate) == samples


@pytest.fixture(scope="module")
def counted_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds whose pictures all differ."""
    path = tmp_path_factory.mktemp("timeline") / "even.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=6", "-pix_fmt", "yuv420p"]
    return cached_video(path, *source, "-c:v", "mpeg4", "-bf", "0")


def with_times(video: Path, expression: str, path: Path) -> Path:
    """The same packets with other times."""
    run_ffmpeg("-i", video, "-c", "copy", "-bsf:v", f"setts=pts={expression}", path)
    return path


def decoded(path: Path, limits: DecodeLimits | None = None) -> tuple[dict[str, list[bytes]], DecodeSummary]:
    frames: dict[str, list[bytes]] = {spec.name: [] for spec in SPECS}
    summary: Any = None
    for item in decode(VideoSource("video", str(path)), SPECS, limits or DecodeLimits()):
        if isinstance(item, DecodeSummary):
            summary = item
        elif isinstance(item, FrameBatch):
            frames[item.extractor] += [frame.tobytes() for frame in item.frames]
        else:
            frames = {spec.name: [] for spec in SPECS}  # decoded again from the start
    return frames, summary


def has_filter_of_times() -> bool:
    answer = subprocess.run([ffmpeg.executable(), "-hide_banner", "-bsfs"], capture_output=True, check=True)
    return b"setts" in answer.stdout


needs_setts = pytest.mark.skipif(not has_filter_of_times(), reason="this ffmpeg lacks the bitstream filter setts")


@pytest.mark.slow
@needs_setts
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    "expression",
    ["PTS+eq(N\\,75)*20/TB", "PTS+between(N\\,75\\,76)*20/TB", "PTS+eq(N\\,40)*9/TB+eq(N\\,76)*20/TB"],
    ids=["one", "two", "twice"],
)
def test_pictures_after_a_jump_are_not_lost(
    counted_video: Path, tmp_path: Path, expression: str, container: str
) -> None:
    sane, _ = decoded(counted_video)
    jumping = with_times(counted_video, expression, tmp_path / f"jump.{container}")
    frames, summary = decoded(jumping)
    assert {name: len(each) for name, each in frames.items()} == {"resnet152": 6, "resnext101_3d": 144}
    for name, each in frames.items():
        same = sum(a == b for a, b in zip(each, sane[name], strict=True))
        assert same >= len(each) - 3, "only the pictures near the jumps may differ"
    assert "timestamps repaired" in summary.notes[NoteKind.TIMESTAMPS_REPAIRED]
    assert not summary.truncated, "the stated end is that of the wrong time"


def test_a_file_whose_times_begin_again_keeps_its_second_half(counted_video: Path, tmp_path: Path) -> None:
    live = tmp_path / "live.mkv"
    run_ffmpeg("-i", counted_video, "-c", "copy", "-live", "1", live)
    content = live.read_bytes()
    live.write_bytes(content + content[content.index(bytes.fromhex("1F43B675")) :])  # its clusters once more
    frames, summary = decoded(live)
    assert {name: len(each) for name, each in frames.items()} == {"resnet152": 12, "resnext101_3d": 288}
    assert frames["resnet152"][:6] == frames["resnet152"][6:]
    assert NoteKind.TIMESTAMPS_REPAIRED in summary.notes


@pytest.mark.slow
def test_a_gap_that_stays_is_filled_and_noted(counted_video: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.mp4"
    shifted = ["-vf", "setpts=PTS+gte(N\\,75)*20/TB", *passthrough_arguments()]
    run_ffmpeg("-i", counted_video, *shifted, "-c:v", "mpeg4", late)
    frames, summary = decoded(late)
    assert len(frames["resnet152"]) == 26
    assert max(len(list(run)) for _, run in itertools.groupby(frames["resnet152"])) >= 20
    assert "20.0 s from 3.0 s on" in summary.notes[NoteKind.LONG_GAPS]
    assert NoteKind.TIMESTAMPS_REPAIRED not in summary.notes
    with pytest.raises(DecodeError) as raised:
        decoded(late, DecodeLimits(max_gap_seconds=12))
    assert raised.value.reason is FailureReason.TOO_LARGE
