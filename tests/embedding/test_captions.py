from __future__ import annotations

import json
import pickle
import random
import re
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.captions import VideoCaptions, grow_window, load_captions
from reeldex.embedding.errors import DatasetError, UnsafePickleError


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
        ({"start": [0, 3], "end": [1, 2], "text": ["a", "b"]}, "caption 1 lasts from 3.0 to 2.0 seconds"),
        ({"start": [-1], "end": [1], "text": ["a"]}, "caption 0 lasts from -1.0"),
        ({"start": [0], "end": [float("nan")], "text": ["a"]}, "caption 0 lasts from 0.0 to nan"),
        ({"start": [float("nan")], "end": [1], "text": ["a"]}, "caption 0 lasts from nan"),
        ({"start": [0], "end": [float("inf")], "text": ["a"]}, "to inf"),
        ({"start": [5, 3], "end": [6, 6], "text": ["a", "b"]}, "caption 1 starts at 3.0 seconds, before"),
        ({"start": ["x"], "end": [1], "text": ["a"]}, "could not convert"),
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
        ("a.txt", b"", "neither .json nor .pickle"),
        ("a.json", b"{", "cannot be read as JSON"),
        ("b.json", b"[" * 200_000, "cannot be read as JSON"),
        ("a.json", b"[]", "does not map video ids"),
        ("a.pkl", pickle.dumps({1: 2}), "does not map video ids"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=why):
            load_captions(tmp_path / name)
    (tmp_path / "evil.pickle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafePickleError, match="system"):
        load_captions(tmp_path / "evil.pickle")
