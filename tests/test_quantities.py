"""How counts, sizes and durations are written for people."""

from __future__ import annotations

import pytest

from reeldex.quantities import counted, duration, file_size


@pytest.mark.parametrize(("count", "text"), [(0, "0 videos"), (1, "1 video"), (2, "2 videos"), (2000, "2,000 videos")])
def test_a_noun_agrees_with_its_number(count: int, text: str) -> None:
    assert counted(count, "video") == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (8_600_000, "8.6 MB"),
        (12_345_678_901, "12.3 GB"),
        (1_670_000_000_000, "1.7 TB"),
    ],
)
def test_a_size_has_the_unit_that_suits_it(size_bytes: int, text: str) -> None:
    assert file_size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (3.44, "3.4 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125.4, "2 min 5 s"),
        (3599.6, "1 h 0 min"),
        (5640, "1 h 34 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
