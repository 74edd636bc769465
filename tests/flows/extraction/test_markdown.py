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
        ("/videos/of/a/kitchen/in/a/lab/of/ours/a_b.mp4", "/videos/of/a/kitchen/in/a/lab/of/ours/a_b.mp4"),
        ("a" * 65, "a" * 32 + "\u200b" + "a" * 32 + "\u200ba"),
        ("part_of_a_name_" * 3, "part\\_\u200bof\\_\u200ba\\_\u200bname\\_\u200b" * 3),
        ("\\", "\\\\"),
        ("", ""),
    ],
)
def test_text_cannot_break_a_table(text: str, expected: str) -> None:
    assert cell(text) == expected.removesuffix("\u200b")


def test_a_long_text_is_shortened_without_half_an_escape() -> None:
    assert cell("|" * 2 * CELL_CHARACTERS).replace("\u200b", "") == "\\|" * CELL_CHARACTERS + "..."


def test_an_empty_column_is_left_out() -> None:
    rows = [{"file": "f", "video": "", "what": "w"}, {"file": "g", "video": "", "what": ""}]
    assert table(rows).splitlines() == ["| file | what |", "| --- | --- |", "| f | w |", "| g |  |"]
