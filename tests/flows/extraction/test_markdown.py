from __future__ import annotations

import pytest

from reeldex.flows.extraction.markdown import CELL_CHARACTERS, cell, table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", "a\\|b"),
        ("two\nlines", "two lines"),
        ("<b>&amp;", "\\<b>\\&amp;"),
        ("/v/a_b.mp4", "/v/a\\_b.mp4"),
        ("/videos/kitchen/a_b.mp4", "/<wbr>videos/<wbr>kitchen/<wbr>a\\_<wbr>b.<wbr>mp4"),
        ("a" * 81, "a" * 40 + "<wbr>" + "a" * 40 + "<wbr>a"),
        ("\\", "\\\\"),
        ("", ""),
    ],
)
def test_text_cannot_break_a_table(text: str, expected: str) -> None:
    assert cell(text) == expected


def test_a_long_text_is_shortened_without_half_an_escape() -> None:
    assert cell("|" * 2 * CELL_CHARACTERS).replace("<wbr>", "") == "\\|" * CELL_CHARACTERS + "..."


def test_an_empty_column_is_left_out() -> None:
    rows = [{"file": "f", "video": "", "what": "w"}, {"file": "g", "video": "", "what": ""}]
    assert table(rows).splitlines() == ["| file | what |", "| --- | --- |", "| f | w |", "| g |  |"]
