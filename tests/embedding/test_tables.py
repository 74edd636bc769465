from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.datasets.bare_tables import read_bare_table, read_tab_table
from reeldex.embedding.datasets.id_lists import read_id_list, read_ids
from reeldex.embedding.datasets.rows import Row
from reeldex.embedding.datasets.tables import read_table
from reeldex.embedding.errors import DatasetError, RowError


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
        ("video_id,text\na,b\nc\n", "line 3: it has 1 column, the first line names 2"),
        ("\n \n", "is empty; its first line must name"),
        ("VIDEO_ID\ttexts\n", "no column 'text'. Did you mean 'texts' there\\? Its columns are: VIDEO_ID, texts"),
        (b"\x1f\x8b\x08\x00\xff", "compressed with gzip. Unpack it"),
        (b"PK\x03\x04\xff\xff", "a zip archive or a spreadsheet"),
        ("video_id,text\n".encode("utf-16"), "it is UTF-16. Save it as UTF-8"),
        ("video_id,text\n".encode("utf-16-le"), "line 1: it holds zero bytes, as UTF-16 does"),
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
    ("text", "seconds"),
    [
        ("12.5", 12.5),
        ("00:00:01.89", 1.89),
        ("01:02:03", 3723),
        ("0", 0),
        (" 7 ", 7),
        ("1:2", 62),
        ("75:30", 4530),
        ("1e1", 10),
        (".5", 0.5),
        ("3.", 3),
    ],
)
def test_times(tmp_path: Path, text: str, seconds: float) -> None:
    assert read_table(table(tmp_path, f"t\n{text}\n"), ["t"])[0].seconds("t") == seconds


@pytest.mark.parametrize(
    "text", ["-1", "nan", "inf", "x", "1:60", "00:60:00", "1:", ":5", "1_0", "0x1", "1h", "00:00:60:00", "''"]
)
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
    short = read_tab_table(path, {"clip": 0, "sentence": 5})[0]
    assert short.text("clip") == "a"
    with pytest.raises(RowError, match="line 1: it has 3 tab-separated columns, and column 6 is required"):
        short.text("sentence")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_are_found_in_any_case_between_any_usual_separators(tmp_path: Path, separator: str) -> None:
    lines = [["x", " Video_ID ", "TEXT"], ["1", "a", '"cut, then; stir"'], ["2", "b", "fry"]]
    rows = read_table(table(tmp_path, "\n".join(map(separator.join, lines))), ["video_id", "text"])
    assert [(row.text("video_id"), row.text("text")) for row in rows] == [("a", "cut, then; stir"), ("b", "fry")]


def test_other_names_of_columns_count_where_the_column_is_absent(tmp_path: Path) -> None:
    aliases = {"video_id": ("video", "file")}
    assert read_table(table(tmp_path, "file,Video\na,b\n"), ["video_id"], (), aliases)[0].text("video_id") == "b"
    assert read_table(table(tmp_path, "video,video_id\na,b\n"), ["video_id"], (), aliases)[0].text("video_id") == "b"


@pytest.mark.parametrize(
    "value", [None, math.nan, "", " ", "nan", "NaN", "null", "NULL", "None", "<NA>", np.float32("nan")]
)
def test_what_is_no_text(value: object) -> None:
    with pytest.raises(RowError, match="t, line 3, column 'text': it is empty"):
        Row(Path("t"), 3, {"text": value}).text("text")


@pytest.mark.parametrize(("value", "text"), [("none", "none"), ("nan bread", "nan bread"), (5, "5"), (" a ", "a")])
def test_what_is_a_text(value: object, text: str) -> None:
    assert Row(Path("t"), 3, {"text": value}).text("text") == text


def test_json_values_that_are_no_text_and_no_time() -> None:
    row = Row(Path("t"), 0, {"list": ["a"], "flag": True, "time": None}, "entry 4")
    with pytest.raises(RowError, match="t: entry 4, column 'list': it is a list, not a text"):
        row.text("list")
    with pytest.raises(RowError, match="it is a bool, not a text"):
        row.text("flag")
    with pytest.raises(RowError, match="None is neither a time"):
        row.seconds("time")
    with pytest.raises(RowError, match="column 'other': it is missing"):
        row.text("other")


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ("video0\nvideo1\n\n", ["video0", "video1"]),
        ("\ufeffvideo0\r\nvideo1", ["video0", "video1"]),
        ("video_id\nvideo0\n", ["video0"]),
        ("Video ID\nclips/video0.mp4\n", ["clips/video0.mp4"]),
        ("video\n\"video0\"\n'video1'\n", ["video0", "video1"]),
        ("videoid\nvideo0\n", None),
        ("id\n", []),
        ("video_id,sentence\nvideo0,a\n", None),
        ("", None),
    ],
)
def test_lists_of_ids_without_a_header(tmp_path: Path, content: str, ids: list[str] | None) -> None:
    found = read_id_list(table(tmp_path, content))
    assert (None if found is None else found.rows) == ids


def test_ids_of_a_table_leave_out_rows_without_one(tmp_path: Path) -> None:
    found = read_ids(table(tmp_path, "task,video_id\n1,video0\n2,\n3,video1\n"))
    assert found.rows == ["video0", "video1"]
    assert list(found.reasons.values()) == ["it is empty"]
    with pytest.raises(DatasetError, match=r"has no column 'video_id'. Did you mean 'videoid' there"):
        read_ids(table(tmp_path, "videoid\nvideo0\n"))


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is a folder"):
        read_table(tmp_path, ["a"])


def test_empty_lines_and_rows_are_no_rows(tmp_path: Path) -> None:
    rows = read_table(table(tmp_path, "\n \nvideo_id;text\n;\n\na;b\n ; \n"), ["video_id", "text"])
    assert [(row.line, row.text("video_id")) for row in rows] == [(6, "a")]


def test_messages_name_columns_as_the_file_does(tmp_path: Path) -> None:
    aliases = {"video_id": ("video",), "text": ("caption",)}
    row = read_table(table(tmp_path, "Video,Caption\na,\n"), ["video_id", "text"], (), aliases)[0]
    with pytest.raises(RowError, match="line 2, column 'Caption': it is empty"):
        row.text("text")
    with pytest.raises(
        DatasetError, match=r"no column 'text'.*Its columns are: Video; needed are: video_id \(or video\)"
    ):
        read_table(table(tmp_path, "Video\n"), ["video_id", "text"], (), aliases)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_without_a_header_between_any_usual_separators(tmp_path: Path, separator: str) -> None:
    lines = [["Step", "start"], ["1", "2.5", "x"], ["", ""], ["3"]]
    rows = list(read_bare_table(table(tmp_path, "\n".join(map(separator.join, lines))), {"step": 0, "start": 1}))
    assert [row.integer("step") for row in rows] == [1, 3]
    assert rows[0].seconds("start") == 2.5
    with pytest.raises(RowError, match=r"line 4: it has 1 .*-separated column, and column 2 is required"):
        rows[1].seconds("start")


@pytest.mark.parametrize("digits", [19, 5000])
def test_numbers_of_any_length(digits: int) -> None:
    row = Row(Path("t"), 1, {"n": "9" * digits, "list": f"[{'9' * digits}]", "time": int("9" * 400)})
    with pytest.raises(DatasetError, match="is not a whole number"):
        row.integer("n")
    with pytest.raises(DatasetError, match="is not a list of classes"):
        row.classes("list")
    with pytest.raises(RowError, match="neither a time"):
        row.seconds("time")


@pytest.mark.parametrize(
    "content",
    [
        "a" * 1_308_606,
        ",".join(["column"] * 200_000),
        '{"sentences": [' + '{"video_id": "video1", "caption": "x"},' * 30_000 + "]}",
        "video_id,start\na," + "9:" * 500_000,
        "video_id,start\na," + "x" * 500_000,
    ],
)
def test_messages_quote_little_of_a_file(tmp_path: Path, content: str) -> None:
    path = table(tmp_path, content)
    with pytest.raises(DatasetError) as raised:
        [row.seconds("start") for row in read_table(path, ["video_id", "start"])]
    assert len(str(raised.value).replace(str(path), "")) < 400
