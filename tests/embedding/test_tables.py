from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.embedding.datasets.tables import read_tab_table, read_table
from reeldex.embedding.errors import DatasetError


def table(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_columns_are_found_by_name_and_others_passed_over(tmp_path: Path) -> None:
    path = table(tmp_path, '\ufeffx, b ,a\r\n1,"two, ""three""\nlines",3\r\n\r\n4,é,6\r\n')
    rows = read_table(path, ["a", "b"], ["c"])
    assert [dict(row.values) for row in rows] == [{"a": "3", "b": 'two, "three"\nlines'}, {"a": "6", "b": "é"}]
    assert [row.line for row in rows] == [3, 5]
    assert "x" in read_table(path, ["a"], ["x"])[0].values


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "is empty; its first line must name the columns video_id, text"),
        ("video,text\n", "has no column 'video_id'. Did you mean 'video' there\\? Its columns are: video, text"),
        ("video_id,text\na,b,c\n", "line 2: it has 3 columns, the first line names 2"),
        ("video_id,text\na,b\nc\n", "line 3: it has 1 columns"),
        (b"video_id,text\na,b\nc,caf\xe9\n", "line 3: it is not UTF-8"),
        ('video_id,text\na,b\nc,"a cat\nd,e\n', "line 5: it cannot be read as .*: unexpected end of data"),
        ('video_id,text\na,"b"c\n', "line 2: it cannot be read as comma-separated text"),
        ("video_id,text\na," + "b" * 10_000_001, "line 2: .* field larger than field limit"),
        ("video_id,text,text\na,b,c\n", "has several columns 'text'"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, content: str | bytes, why: str) -> None:
    with pytest.raises(DatasetError, match=f"t.csv.*{why}"):
        read_table(table(tmp_path, content), ["video_id", "text"])


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"There is no file .*t\.csv"):
        read_table(tmp_path / "t.csv", ["a"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("12.5", 12.5), ("00:00:01.89", 1.89), ("01:02:03", 3723), ("0", 0), (" 7 ", 7)]
)
def test_times(tmp_path: Path, text: str, seconds: float) -> None:
    assert read_table(table(tmp_path, f"t\n{text}\n"), ["t"])[0].seconds("t") == seconds


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "x", "1:2", "00:00:60:00", "''"])
def test_what_is_no_time(tmp_path: Path, text: str) -> None:
    row = read_table(table(tmp_path, f"t\n{text}\n"), ["t"])[0]
    with pytest.raises(DatasetError, match=r"t\.csv, line 2, column 't': .* is neither a time in seconds"):
        row.seconds("t")


def test_spans_texts_and_numbers_that_cannot_be(tmp_path: Path) -> None:
    row = read_table(table(tmp_path, "s,e,n,text\n3,2,-4, \n"), ["s", "e", "n", "text"])[0]
    with pytest.raises(DatasetError, match=r"line 2, column 'e': it ends at 2.0 seconds, before its start at 3.0"):
        row.span("s", "e")
    with pytest.raises(DatasetError, match="column 'n': '-4' is not a whole number"):
        row.integer("n")
    with pytest.raises(DatasetError, match="column 'text': it is empty"):
        row.text("text")
    assert row.integer("s") == 3


@pytest.mark.parametrize(
    ("text", "classes"), [("[2]", {2}), ("[71, 31,215 ]", {71, 31, 215}), ("[]", None), ("2", None), ("['a']", None)]
)
def test_lists_of_classes(tmp_path: Path, text: str, classes: set[int] | None) -> None:
    row = read_table(table(tmp_path, f'c\n"{text}"\n'), ["c"])[0]
    if classes is not None:
        assert row.classes("c") == classes
        return
    with pytest.raises(DatasetError, match="line 2, column 'c'"):
        row.classes("c")


def test_tab_separated_lines_are_rows_whatever_they_quote(tmp_path: Path) -> None:
    path = table(tmp_path, 'a\t1\t"He waits\nb\t2\tit\'s "\u2028 here"\n\n')
    rows = read_tab_table(path, {"clip": 0, "sentence": 2})
    assert [row.text("sentence") for row in rows] == ['"He waits', 'it\'s "\u2028 here"']
    with pytest.raises(DatasetError, match="line 1: it has 3 tab-separated columns, and column 6 is required"):
        read_tab_table(path, {"clip": 0, "sentence": 5})
