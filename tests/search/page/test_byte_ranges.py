from __future__ import annotations

import pytest

from reeldex.search.page.byte_ranges import ByteRange, RangeNotSatisfiableError, parse_range


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-", ByteRange(0, 99)),
        ("bytes=0-0", ByteRange(0, 0)),
        ("bytes=10-19", ByteRange(10, 19)),
        ("Bytes= 10-19 ", ByteRange(10, 19)),
        ("bytes=90-1000", ByteRange(90, 99)),
        ("bytes=-5", ByteRange(95, 99)),
        ("bytes=-1000", ByteRange(0, 99)),
        # What is no single range of bytes is ignored, and all is sent.
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=\N{ARABIC-INDIC DIGIT ONE}-", None),
        ("bytes=1-" + "9" * 40, None),
        ("", None),
    ],
)
def test_a_header_asks_for_these_of_a_hundred_bytes(header: str | None, wanted: ByteRange | None) -> None:
    assert parse_range(header, 100) == wanted


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=200-300", 100), ("bytes=-0", 100), ("bytes=-1", 0)]
)
def test_a_range_behind_the_end_is_refused(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiableError):
        parse_range(header, size)


def test_a_range_that_is_none_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no range"):
        ByteRange(5, 4)
