from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reeldex.storage.json_codec import from_json, to_json
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome, check_video_id

GOOD_IDS = ["a", "a/b.mp4", "a b'\"\n%41", "-x", "vidéo/日本", "x" * 255, "...", "a/.hidden"]
BAD_IDS = ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "nul\0", "\udcff", "x" * 256]


@pytest.mark.parametrize("video_id", GOOD_IDS)
def test_usable_ids(video_id: str) -> None:
    check_video_id(video_id)


@pytest.mark.parametrize("video_id", BAD_IDS)
def test_unusable_ids(video_id: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be used: .* Give this video another id"):
        check_video_id(video_id)


@pytest.mark.parametrize("name", ["resnet152", "a.b.c", "Net.v1", "net.v-1", "../a.b", "", "net.v1\n"])
def test_bad_space_names(name: str) -> None:
    with pytest.raises(ValueError, match=r"<network>\.<tag>"):
        FeatureSpace(name, {})


def test_a_space_is_equal_by_content_and_its_fingerprint_is_canonical() -> None:
    one = FeatureSpace("net.v1", {"b": (1, 2), "a": 0.5})
    other = FeatureSpace("net.v1", {"a": 0.5, "b": [1, 2]})
    assert one == other
    assert hash(one) == hash(other)
    assert one.fingerprint_json() == '{"a":0.5,"b":[1,2]}'
    assert one != FeatureSpace("net.v1", {"a": 0.25, "b": [1, 2]})
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301


@pytest.mark.parametrize("fingerprint", [{"a": float("nan")}, {"a": object()}, {1: "a"}])
def test_a_fingerprint_must_be_json(fingerprint: dict[Any, Any]) -> None:
    with pytest.raises(ValueError, match="fingerprint of"):
        FeatureSpace("net.v1", fingerprint)


def test_an_entry_survives_json_with_a_path_that_is_not_utf8() -> None:
    entry = VideoEntry("é", "/videos/\udcff\n.mp4", 5, 7, duplicate_of="/b")
    text = json.dumps(to_json(entry))
    assert text.isascii()
    assert from_json(VideoEntry, json.loads(text)) == entry


@pytest.mark.parametrize(
    "change",
    [{"path": ""}, {"size_bytes": None}, {"size_bytes": -1}, {"video_id": ".."}, {"duplicate_of": "a\0"}],
)
def test_entries_refuse_bad_values(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"video_id": "a", "path": "/a", "size_bytes": 1, "mtime_ns": 2}
    VideoEntry(**good)
    with pytest.raises(ValueError):  # noqa: PT011
        VideoEntry(**(good | change))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rows": np.ones((2, 3), np.float32)}, "float16"),
        ({"rows": np.ones((0, 3), np.float16)}, "at least 1"),
        ({"rows": np.ones(3, np.float16)}, "float16"),
        ({"rows": [[1.0]]}, "list"),
        ({"rows": np.ones((3, 2), np.float16).T}, "C-contiguous"),
        ({"rows": np.array([[0.0], [np.nan]], np.float16)}, "row 1 contains NaN"),
        ({"rows": np.array([[np.inf]], np.float16)}, "row 0 contains NaN or infinity"),
        ({"start_seconds": float("nan")}, "start_seconds"),
        ({"seconds_per_row": 0.0}, "seconds_per_row"),
        ({"duration_seconds": -1.0}, "duration_seconds"),
        ({"duration_seconds": float("nan")}, "duration_seconds"),
        ({"source": "a\0b"}, "NUL"),
        ({"source": "\ud800"}, "surrogate"),
    ],
)
def test_rows_refuse_bad_values(change: dict[str, Any], complaint: str) -> None:
    good: dict[str, Any] = {
        "rows": np.ones((2, 3), np.float16),
        "start_seconds": 0.0,
        "seconds_per_row": 1.0,
        "duration_seconds": None,
        "truncated": False,
        "source": "a",
    }
    FeatureRows(**good)
    with pytest.raises(ValueError, match=complaint):
        FeatureRows(**(good | change))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"status": "fine"}, "'ok' or 'failed'"),
        ({"reason": "timeout"}, "cannot have the reason"),
        ({"truncated": True}, "truncated=True"),
        ({"reason": "truncated"}, "truncated=False"),
        ({"status": "failed", "reason": None}, "must be one of missing"),
        ({"status": "failed", "reason": "truncated"}, "must be one of missing"),
        ({"status": "failed", "reason": "timeout", "message": " "}, "needs a message"),
        ({"attempts": -1}, "negative"),
        ({"rows": {"net.v1": 0}}, "at least 1"),
        ({"rows": {"net": 1}}, "<network>.<tag>"),
        ({"duration_seconds": float("inf")}, "duration_seconds"),
        ({"notes": ("two words",), "message": "x"}, "notes are words"),
        ({"notes": ("hdr", "hdr"), "message": "x"}, "notes must differ"),
        ({"notes": ("hdr",)}, "notes need a message"),
    ],
)
def test_outcomes_refuse_bad_values(change: dict[str, Any], complaint: str) -> None:
    good: dict[str, Any] = {
        "video_id": "a", "path": "/a", "status": "ok", "reason": None, "message": "", "attempts": 1,
    }  # fmt: skip
    VideoOutcome(**good)
    with pytest.raises(ValueError, match=complaint):
        VideoOutcome(**(good | change))


def test_an_outcome_survives_json() -> None:
    outcome = VideoOutcome(
        "a", "/\udcff", "ok", "truncated", "short", 2, truncated=True, decode_error_count=3, duration_seconds=1.5,
        rows={"net.v1": 4},
    )  # fmt: skip
    assert from_json(VideoOutcome, json.loads(json.dumps(to_json(outcome)))) == outcome
    noted = replace(outcome, notes=("timestamps_repaired",))
    assert from_json(VideoOutcome, json.loads(json.dumps(to_json(noted)))) == noted


def test_an_outcome_without_notes_has_no_such_field_in_json() -> None:
    assert "notes" not in to_json(VideoOutcome("a", "/a", "ok", None, "", 1))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"attempts": "1"}, "the field 'attempts': input should be a valid integer, found '1'"),
        ({"attempts": True}, "the field 'attempts': input should be a valid integer, found True"),
        ({"attempts": 1.0}, "the field 'attempts': input should be a valid integer, found 1.0"),
        ({"attempts": None}, "the field 'attempts': input should be a valid integer, found None"),
        ({"truncated": 0}, "the field 'truncated': input should be a valid boolean, found 0"),
        ({"duration_seconds": "1.5"}, "the field 'duration_seconds': input should be a valid number, found '1.5'"),
        (
            {"duration_seconds": float("nan")},
            "the field 'duration_seconds': input should be a finite number, found nan",
        ),
        ({"path": 3}, "the field 'path': input should be an instance of str, found 3"),
        ({"rows": {"net.v1": "4"}}, "the field 'rows.net.v1': input should be a valid integer"),
        ({"surprise": 1}, "the field 'surprise' is unknown"),
        ({"rows": []}, "the field 'rows': input should be a valid dictionary"),
        ({"status": "fine"}, "the field 'status': input should be 'ok' or 'failed', found 'fine'"),
        ({"reason": "timeout"}, "cannot have the reason"),
    ],
)
def test_an_outcome_is_read_strictly(change: dict[str, Any], complaint: str) -> None:
    values = to_json(VideoOutcome("a", "/a", "ok", None, "", 1, rows={"net.v1": 4})) | change
    with pytest.raises(ValueError, match=complaint):
        from_json(VideoOutcome, values)


def test_a_missing_field_is_named() -> None:
    values = to_json(VideoOutcome("a", "/a", "ok", None, "", 1))
    del values["message"]
    with pytest.raises(ValueError, match="the field 'message' is missing"):
        from_json(VideoOutcome, values)


@pytest.mark.parametrize("values", [None, 3, "text", [1]])
def test_what_is_not_an_object_is_no_dataclass(values: object) -> None:
    with pytest.raises(ValueError, match="dictionary"):
        from_json(VideoEntry, values)
