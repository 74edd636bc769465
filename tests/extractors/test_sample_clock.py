"""The arithmetic of ffmpeg's `fps` filter, held against that filter."""

from __future__ import annotations

import os
import subprocess
from itertools import groupby
from pathlib import Path

import ffmpeg as ffmpeg_python
import pytest

from reeldex.extractors import ffmpeg, sampling
from reeldex.extractors.sample_clock import BEFORE_ALL_TICKS, SampleClock

_TICKS_A_SECOND = 90_000
_SIDE = 16
_GREY_STEP = 4  # picture number i is of the grey 4 i


def counts(ticks: list[int | None]) -> list[int]:
    clock = SampleClock()
    return [count for tick in ticks for count in clock.advance(tick)]


@pytest.mark.parametrize(
    ("ticks", "wanted"),
    [
        ([], []),
        ([0], []),
        ([0, 1], [1]),
        ([0, 0], []),  # one picture, which ends before it could be sampled
        ([0, 1, 2, 3], [1, 1, 1]),
        ([0, 0, 0, 1], [0, 1]),  # the first picture, and the last of those that share its tick
        ([0, 1, 1, 1, 2, 2], [1, 1]),
        ([0, 5], [5]),
        ([3, 4, 5], [4, 1]),  # a late start: the first sample stands from 0 on
        ([3, 3], []),
        ([-3, -2, 1, 2], [0, 1, 1]),  # what is shown at 0 is shown from there on
        ([-3, -2, -1], [0, 0]),
        ([0, 5, 3, 6], [5, 0, 1]),  # back in time: shown when the sample after the one before is due
        ([0, 5, 5, 3, 3, 6], [5, 0, 1]),
        ([0, None, 4], [0, 4]),
        ([0, 3, None, 4], [3, 1]),
        ([None, None, 2, 3], [0, 0, 3]),
        ([None, None], []),
        ([0, 10**9], [10**9]),
    ],
)
def test_pictures_are_counted(ticks: list[int | None], wanted: list[int]) -> None:
    assert counts(ticks) == wanted


def test_a_tick_that_is_shifted_counts_as_the_sum_from_its_first_picture_on() -> None:
    clock = SampleClock()
    pictures = [(0, 0), (1, 0), (301, -299), (301, 0), (3, 0), (4, 0)]
    assert [count for tick, shift in pictures for count in clock.advance(tick, shift)] == [1, 1, 1, 1]


def even(rate: float, count: int, start: float = 0.0) -> list[float | None]:
    return [start + at / rate for at in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1, 3, 24])
@pytest.mark.parametrize(
    "seconds",
    [
        even(25, 60),
        even(24, 50),
        even(30000 / 1001, 60),
        even(60, 60),
        even(12, 60),  # every second one half way between two ticks
        even(2, 20),
        even(0.25, 5),
        even(25, 1),
        even(3, 2),
        even(25, 40, start=2.7),
        even(25, 60, start=-1.3),
        even(25, 10, start=-5.0),
        [0.0, 0.1, 7.3, 7.31, 7.9, 30.0],
        [0.0, 4.0, 2.0, 1.0, 5.0, 5.0, 4.9, 8.0],
        [0.0, 1.0, None, 2.0, None, None, 5.0],
        [None, None, 1.5, 2.0, 3.0],
        [0.5, 1.5, 2.5, 3.5],
    ],
)
def test_counts_are_those_of_the_filter(tmp_path: Path, seconds: list[float | None], rate: int) -> None:
    shown, handed_over, ticks = run_filters(tmp_path, seconds, rate)
    assert len(ticks) == len(seconds) + 1, "one for each picture, and the end"
    found = counts(ticks)
    expected = run_ends(ticks[: len(seconds)])
    if expected[0] != 0:
        expected.insert(0, 0)
    # The first picture once more may follow, which completes the last run.
    assert handed_over[: len(expected)] == expected
    assert handed_over[len(expected) :] in ([], [0])
    assert [picture for picture, count in zip(handed_over, found, strict=False) for _ in range(count)] == shown


def run_ends(ticks: list[int | None]) -> list[int]:
    """Numbers of the last pictures of each run of equal ticks, where a missing one counts as the one before it."""
    latest: list[int] = []
    for tick in ticks:
        before = latest[-1] if latest else BEFORE_ALL_TICKS
        latest.append(before if tick is None or tick <= BEFORE_ALL_TICKS else tick)
    return [max(at for at, _ in run) for _, run in groupby(enumerate(latest), key=lambda pair: pair[1])]


def run_filters(folder: Path, seconds: list[float | None], rate: int) -> tuple[list[int], list[int], list[int | None]]:
    """Which picture each sample of ffmpeg's own filter shows, which ones are handed over, and the ticks printed."""
    # The end of the last picture: the filter setpts is asked for it too, with the number of a further picture.
    end = next((second for second in reversed(seconds) if second is not None), 0.0) + 0.04
    times = str(round(end * _TICKS_A_SECOND))
    for at, second in reversed(list(enumerate(seconds))):
        time = "NAN" if second is None else str(round(second * _TICKS_A_SECOND))
        times = f"if(eq(N,{at}),{time},{times})"
    source = (
        ffmpeg_python.input(f"color=black:s={_SIDE}x{_SIDE}:r=25,trim=end_frame={len(seconds)}", format="lavfi")
        .filter("format", "gray")
        .filter("geq", lum=f"{_GREY_STEP}*N")
        .filter("settb", f"1/{_TICKS_A_SECOND}")
        .filter("setpts", times)
        .filter_multi_output("split", 3)
    )
    plain = source[0].filter("fps", fps=rate).filter("fps", fps=rate, start_time=0)
    ended = sampling._last_of_each_run(source[1], rate).filter("setpts", "N")
    reader, writer = os.pipe()
    printed = sampling._printed(sampling._small_and_ended(source[2]), rate, writer)
    raw = {"format": "rawvideo", "pix_fmt": "gray", **ffmpeg.passthrough_option()}
    outputs = [
        ffmpeg_python.output(plain, str(folder / "shown"), **raw),
        ffmpeg_python.output(ended, str(folder / "handed-over"), **raw),
        ffmpeg_python.output(printed, "-", format="null", **ffmpeg.passthrough_option()),
    ]
    try:
        command = [ffmpeg.executable(), "-v", "fatal", "-y", *ffmpeg_python.merge_outputs(*outputs).get_args()]
        # Where no sample is shown, ffmpeg 9 calls that a fault.
        subprocess.run(command, check=False, pass_fds=[writer])
    finally:
        os.close(writer)
    ticks = sampling.TickReader()
    read: list[int | None] = []
    while not ticks.ended:
        read += ticks.read_from(reader)
    os.close(reader)
    return _pictures(folder / "shown"), _pictures(folder / "handed-over"), read


def _pictures(path: Path) -> list[int]:
    raw = path.read_bytes()
    return [byte // _GREY_STEP for byte in raw[:: _SIDE * _SIDE]]
