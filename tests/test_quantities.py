"""Counts, durations and sizes are shown for people."""

from __future__ import annotations

import pytest

from reeldex.quantities import clock_seconds, counted, data_size, duration


@pytest.mark.parametrize(("count", "text"), [(0, "0 videos"), (1, "1 video"), (2000, "2,000 videos")])
def test_counts_agree_in_number(count: int, text: str) -> None:
    assert counted(count, "video") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (44.6, "45 s"), (89.4, "89 s"), (90, "2 min"), (720, "12 min"), (5400, "1 h 30 min")],
)
def test_durations_are_in_seconds_minutes_or_hours(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (8_600_000, "8.6 MB"),
        (999_990_000, "1.0 GB"),
        (1.67e12, "1.7 TB"),
    ],
)
def test_sizes_are_in_decimal_units(size_bytes: float, text: str) -> None:
    assert data_size(size_bytes) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:02", 62.0),
        ("75:30", 4530.0),
        ("01:02:03.5", 3723.5),
        ("0:01,25", 1.25),
        ("1:75", None),
        ("1:60:00", None),
        ("0:00:60", None),
        ("12.5", None),
        ("1:", None),
        ("-1:00", None),
        ("1:0²", None),
        ("9" * 5000 + ":00", None),
    ],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float | None) -> None:
    assert clock_seconds(text) == seconds
