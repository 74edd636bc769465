from __future__ import annotations

import pytest

from reeldex.flows.extraction.markdown import CELL_CHARACTERS, cell, table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", "a\\|b"),
        ("two\nlines", "two lines"),
        ("<b>&amp; R&D", "\\<b>\\&amp; R&D"),
        ("_a_b_.mp4 *x* ~y~ [z](w)", "\\_a_b\\_.mp4 \\*x\\* \\~y\\~ \\[z](w)"),
        ("/v/kitchen_1/a_b.mp4", "/v/kitchen_1/a_b.mp4"),
        (
            "/videos/of/a/very/long/path/a_b.mp4",
            "/<wbr>videos/<wbr>of/<wbr>a/<wbr>very/<wbr>long/<wbr>path/<wbr>a_b.mp4",
        ),
        ("a" * 65, "a" * 32 + "<wbr>" + "a" * 32 + "<wbr>a"),
        ("part_of_a_name_" * 3, r"part\_<wbr>of\_<wbr>a\_<wbr>name\_<wbr>" * 2 + r"part\_<wbr>of\_<wbr>a\_<wbr>name\_"),
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
