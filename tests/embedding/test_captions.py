from __future__ import annotations

import json
import pickle
import random
import re
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.caption_cache import CaptionFile
from reeldex.embedding.caption_files import open_captions
from reeldex.embedding.captions import VideoCaptions, grow_window
from reeldex.embedding.errors import DatasetError, UnsafePickleError


def load_captions(path: Path) -> CaptionFile:
    return open_captions(path, path.parent / "cache")


def made_up(seed: int, count: int) -> VideoCaptions:
    draw = random.Random(seed)  # noqa: S311
    starts = sorted(draw.uniform(0, 30) for _ in range(count))
    ends = [start + draw.uniform(0, 4) for start in starts]
    texts = [" ".join(draw.choice(["it's", "stir", "café"]) for _ in range(draw.randrange(4))) for _ in starts]
    return VideoCaptions(tuple(starts), tuple(ends), tuple(texts))


def slow_window(captions: VideoCaptions, at: int, min_seconds: float, min_words: int) -> tuple[float, float, list[str]]:
    """The rule spelled out: all that a side would give is worked out before each step."""
    included = [at]

    def words(caption: int) -> list[str]:
        return re.findall(r"[\w']+", captions.texts[caption])

    def length(members: list[int]) -> float:
        return captions.end_seconds[max(members)] - captions.start_seconds[min(members)]

    while length(included) < min_seconds or sum(len(words(each)) for each in included) < min_words:
        sides = [side for side in (min(included) - 1, max(included) + 1) if 0 <= side < len(captions)]
        if not sides:
            break
        if min_seconds > 0:
            included.append(min(sides, key=lambda side: (length([*included, side]), side)))
        else:
            included.append(min(sides, key=lambda side: (-len(words(side)), side)))
    return (
        captions.start_seconds[min(included)],
        captions.end_seconds[max(included)],
        [word for each in included for word in words(each)],
    )


@pytest.mark.parametrize(("min_seconds", "min_words"), [(0, 0), (5, 0), (0, 6), (8, 9), (999, 0), (0, 999)])
def test_windows_are_those_of_the_slow_twin(min_seconds: float, min_words: int) -> None:
    for seed in range(20):
        captions = made_up(seed, 1 + seed)
        for at in range(len(captions)):
            window = grow_window(captions, at, min_seconds, min_words)
            expected = slow_window(captions, at, min_seconds, min_words)
            assert (window.start_seconds, window.end_seconds, list(window.words)) == expected
            assert window.first <= at <= window.last


def test_at_a_tie_the_earlier_neighbour_comes_first() -> None:
    captions = VideoCaptions((0, 2, 4), (2, 4, 6), ("a", "b", "c"))
    assert grow_window(captions, 1, 3).words == ("b", "a")
    assert grow_window(captions, 1, 0, 2).words == ("b", "a")
    assert grow_window(captions, 1, 6).words == ("b", "a", "c")


@pytest.mark.parametrize("suffix", [".pickle", ".pkl", ".json"])
def test_captions_are_read_from_pickle_and_json(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"captions{suffix}"
    entry = {"start": [0.5, 2], "end": [2, 3.25], "text": ["a b", "c"]}
    if suffix == ".json":
        path.write_text(json.dumps({"v": entry}))
    else:
        path.write_bytes(pickle.dumps({"v": {name: np.array(values) for name, values in entry.items()}}))
    captions = load_captions(path).captions("v")
    assert captions == VideoCaptions((0.5, 2.0), (2.0, 3.25), ("a b", "c"))
    assert all(isinstance(start, float) for start in captions.start_seconds)


def test_a_mark_at_the_beginning_of_json_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"v": {"start": [0], "end": [1], "text": ["a"]}}).encode())
    assert load_captions(path).captions("v").texts == ("a",)


def test_arrays_without_a_length_are_no_lists(tmp_path: Path) -> None:
    path = tmp_path / "captions.pkl"
    path.write_bytes(pickle.dumps({"v": {"start": np.array(0.0), "end": np.array(1.0), "text": np.array("a")}}))
    assert "'start' is a " in (load_captions(path).problem("v") or "")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"start": [], "end": [], "text": []}, "it has no captions"),
        ({"start": [0], "end": [1, 2], "text": ["a"]}, "1 starts, 2 ends and 1 texts"),
        ({"start": [3, 3], "end": [1, 2], "text": ["a", "b"]}, "caption 0 lasts from 3.0 to 1.0 seconds"),
        ({"start": [-1], "end": [1], "text": ["a"]}, "caption 0 lasts from -1.0"),
        ({"start": [0], "end": [float("nan")], "text": ["a"]}, "caption 0 lasts from 0.0 to nan"),
        ({"start": [float("nan")], "end": [1], "text": ["a"]}, "caption 0 lasts from nan"),
        ({"start": [0], "end": [float("inf")], "text": ["a"]}, "to inf"),
        ({"start": [5, 3], "end": [6, 6], "text": ["a", "b"]}, "caption 1 starts at 3.0 seconds, before"),
        ({"start": ["x"], "end": [1], "text": ["a"]}, "caption 0 lasts from nan to 1.0 seconds"),
        ({"start": [0], "end": [1]}, "it lacks 'text'; it has 'end', 'start'"),
        ({"start": 0, "end": [1], "text": ["a"]}, "'start' is a int"),
        ({"start": [[0, 1]], "end": [[1, 2]], "text": ["a"]}, "its times are not a list of numbers"),
        (["a"], "it holds a list"),
    ],
)
def test_captions_that_cannot_be_used(tmp_path: Path, entry: object, why: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"v": entry}))
    held = load_captions(path)
    with pytest.raises(DatasetError, match=f"captions.json: the captions of the video 'v' cannot be used: .*{why}"):
        held.captions("v")
    assert why in (held.problem("v") or "")
    assert "no captions of the video 'w'" in (held.problem("w") or "")


def test_caption_files_that_cannot_be_used(tmp_path: Path) -> None:
    for name, content, why in (
        ("a.txt", b"", "neither .json nor .csv, .pickle"),
        ("a.json", b"{", "cannot be read as JSON"),
        ("b.json", b"[" * 200_000, "cannot be read as JSON"),
        ("c.json", b'{"v": ' + b"[" * 200_000, "cannot be read as JSON"),
        ("a.json", b"[]", "cannot be read as JSON that maps names to values: an object does not begin at character 1"),
        ("a.json", b'{"v": {}} x', "something follows the object at character 11"),
        ("a.json", b'{"v": {} "w": {}}', "neither a comma nor the end of the object stands at character 10"),
        ("a.json", b'{"v" {}}', "no colon stands at character 6"),
        ("a.json", b"{v: {}}", "no name of a member stands at character 2"),
        ("a.json", b'{"v": {},}', "no name of a member stands at character 10"),
        ("a.json", b'{"v": {"start": [0 1]}}', "delimiter at character 20"),
        ("a.json", b'{"v": "\xff"}', "a.json, line 1: it is not UTF-8"),
        ("a.json", b'{"a\\u0000b": {}}', "does not map video ids"),
        ("a.csv", b"video_id,start,end\n", "has no column 'text'"),
        ("a.pkl", pickle.dumps({1: 2}), "does not map video ids"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=why):
            load_captions(tmp_path / name)
    (tmp_path / "evil.pickle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafePickleError, match="system"):
        load_captions(tmp_path / "evil.pickle")
    with pytest.raises(DatasetError, match="There is no file"):
        load_captions(tmp_path / "nothing.json")


def test_a_caption_without_a_video_is_dropped_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_bytes(b"video_id,start,end,text\n,0,1,a\nv,0,1,b\n")
    captions = load_captions(tmp_path / "a.csv")
    assert len(captions) == 1
    assert "v" in captions
    assert "1 caption without a video or a possible time left out" in caplog.text


def test_captions_are_read_from_csv_with_the_rows_of_a_video_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    rows = ["video_id,start,end,text,more", "v,00:00:02,3.25,c,x", 'v,0.5,2,"a, b",x', "v,x,2,no time,x", "-w,0,1,,x"]
    path.write_text("\n".join(rows))
    captions = load_captions(path)
    assert captions.captions("v") == VideoCaptions((0.5, 2.0), (2.0, 3.25), ("a, b", "c"))
    assert captions.captions("-w").texts == ("",)
    assert (len(captions), captions.dropped) == (2, 1)


def test_rows_of_a_video_need_not_be_adjacent(tmp_path: Path) -> None:
    draw = random.Random(1)  # noqa: S311
    rows = [(f"v{draw.randrange(4)}", round(draw.uniform(0, 99), 3), f"words {at}") for at in range(200)]
    bad = [("v1", -1.0, "no time"), ("v9", -1.0, "no time"), ("w", -1.0, "no time")]
    rows = [bad[0], bad[1], *rows, ("w", 3.0, "later"), bad[1], bad[2]]
    (tmp_path / "a.csv").write_text("video_id,start,end,text\n" + "".join(f"{v},{s},{s + 1},{t}\n" for v, s, t in rows))
    captions = load_captions(tmp_path / "a.csv")
    for video_id in ("v0", "v1", "v2", "v3", "w"):
        wanted = sorted((start, text) for name, start, text in rows if name == video_id and start >= 0)
        found = captions.captions(video_id)
        assert list(zip(found.start_seconds, found.texts, strict=True)) == wanted
    assert "caption 0 lasts from" in str(captions.problem("v9"))
    assert (len(captions), captions.dropped) == (5, 4)


def test_a_caption_without_text_has_no_words(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    texts = [None, float("nan"), "", 7, "chop it"]
    path.write_text(json.dumps({"v": {"start": [0, 1, 2, 3, 4], "end": [1, 2, 3, 4, 5], "text": texts}}))
    captions = load_captions(path).captions("v")
    assert captions.texts == ("", "", "", "7", "chop it")
    assert grow_window(captions, 0, 3).words == ()
    assert grow_window(captions, 0, 5).words == ("7", "chop", "it")


@pytest.mark.parametrize("start", [3, -1, None, float("nan")])
def test_a_caption_with_an_impossible_time_is_dropped_alone(
    tmp_path: Path, start: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "captions.json"
    entry = {"start": [0, start, 2], "end": [1, 2, 3], "text": ["a", "b", "c"]}
    path.write_text(json.dumps({"v": entry, "w": {**entry, "start": [0, 1, 2]}}))
    captions = load_captions(path)
    assert captions.captions("v") == VideoCaptions((0.0, 2.0), (1.0, 3.0), ("a", "c"))
    assert captions.captions("w").texts == ("a", "b", "c")
    assert captions.dropped == 1
    assert "1 caption without a video or a possible time left out" in caplog.text


def test_the_shared_case_of_captions_without_text(tmp_path: Path, shared: Path) -> None:
    captions = open_captions(shared / "cases" / "captions__nan-and-null-text.json", tmp_path)
    for video_id in ("v", "w"):
        assert captions.captions(video_id).texts == ("", "chop the onion")
        assert grow_window(captions.captions(video_id), 0, 0).words == ()


def test_times_may_be_clock_times(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    entry = {"start": ["00:01", "1:00:00.5", "x"], "end": [2, "1:00:07", 9], "text": ["a", "b", "c"]}
    path.write_text(json.dumps({"v": entry}))
    captions = load_captions(path)
    assert captions.captions("v") == VideoCaptions((1.0, 3600.5), (2.0, 3607.0), ("a", "b"))
    assert captions.dropped == 1
