"""The decision tables in the comments of `_judge` and `merge_outcome`, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reeldex.storage.growth import _judge
from reeldex.storage.resume import merge_outcome
from reeldex.storage.schema import VideoEntry, VideoOutcome

FILE = VideoEntry("a", "/a", 1, 1)
CHANGED = replace(FILE, size_bytes=2)
ABSENT = VideoEntry("a", "/a", None, None)
ELSEWHERE = replace(FILE, path="/new")


@pytest.mark.parametrize(
    ("entry", "holder", "recorded", "holder_there", "moves_count", "verdict"),
    [
        (FILE, None, None, False, True, "new"),
        (FILE, FILE, FILE, True, True, "unchanged"),
        (ABSENT, FILE, FILE, False, True, "absent"),
        (CHANGED, FILE, FILE, True, True, "changed"),
        (ELSEWHERE, FILE, ELSEWHERE, True, True, "unchanged"),
        (ELSEWHERE, FILE, None, True, True, "duplicate"),
        (replace(ABSENT, path="/new"), FILE, None, False, True, "absent"),
        (ELSEWHERE, FILE, None, False, True, "unchanged"),
        (ELSEWHERE, FILE, None, False, False, "changed"),
        (replace(ELSEWHERE, size_bytes=2), FILE, None, False, True, "changed"),
    ],
)
def test_the_verdict_on_a_found_video(
    *,
    entry: VideoEntry,
    holder: VideoEntry | None,
    recorded: VideoEntry | None,
    holder_there: bool,
    moves_count: bool,
    verdict: str,
) -> None:
    assert _judge(entry, holder, recorded, holder_there=holder_there, moves_count=moves_count) == verdict


OK = VideoOutcome("a", "/a", "ok", None, "", attempts=1, rows={"net.x": 3})
CUT = replace(OK, reason="truncated", truncated=True, message="cut off")
FAILED = VideoOutcome("a", "/a", "failed", "timeout", "too slow", attempts=1)
BOTH = {"net.x": 3, "net.y": 3}
Y = replace(OK, rows={"net.y": 3})
NOTED = replace(OK, notes=("video_track",), message="track 2")


@pytest.mark.parametrize(
    ("previous", "staged", "rows", "wanted", "expected"),
    [
        (OK, None, {"net.x": 3}, {"net.x"}, OK),
        (None, FAILED, {}, {"net.x"}, FAILED),
        (FAILED, Y, {}, {"net.x"}, FAILED),
        (OK, FAILED, {"net.x": 3}, {"net.x"}, OK),
        (CUT, FAILED, {"net.x": 3}, {"net.x"}, replace(CUT, attempts=2)),
        (OK, FAILED, {"net.x": 3}, {"net.x", "net.y"}, replace(FAILED, rows={"net.x": 3})),
        (FAILED, FAILED, {}, {"net.x"}, replace(FAILED, attempts=2)),
        (CUT, Y, BOTH, {"net.x", "net.y"}, replace(CUT, attempts=2, rows=BOTH)),
        (CUT, OK, {"net.x": 3}, {"net.x"}, replace(OK, attempts=2)),
        (FAILED, OK, {"net.x": 3}, {"net.x"}, replace(OK, attempts=2)),
        (OK, Y, BOTH, {"net.x", "net.y"}, replace(OK, rows=BOTH)),
        (NOTED, Y, BOTH, {"net.x", "net.y"}, replace(NOTED, rows=BOTH)),  # rows of both extractions
        (NOTED, OK, {"net.x": 3}, {"net.x"}, OK),  # all rows are new
        (OK, NOTED, {"net.x": 3}, {"net.x"}, NOTED),
    ],
)
def test_the_outcome_of_a_video_with_earlier_and_new_work(
    previous: VideoOutcome | None,
    staged: VideoOutcome | None,
    rows: dict[str, int],
    wanted: set[str],
    expected: VideoOutcome,
) -> None:
    assert merge_outcome(FILE, previous, staged, rows, wanted) == expected


def test_a_duplicate_stays_one_and_a_video_without_any_outcome_is_refused() -> None:
    duplicate = replace(FILE, duplicate_of="/b")
    assert merge_outcome(duplicate, OK, OK, {}, {"net.x"}).reason == "duplicate_id"
    with pytest.raises(ValueError, match="has no outcome to publish"):
        merge_outcome(FILE, None, None, {}, {"net.x"})
