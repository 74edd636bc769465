from __future__ import annotations

import base64
import re

import pytest

from reeldex.extractors.notes import NoteKind as OutcomeNote
from reeldex.flows.extraction.report import (
    MOST_FAILURES_LISTED,
    NOTE_REMEDIES,
    REMEDIES,
    Picture,
    contact_sheet,
    failure_rows,
    summary,
)
from reeldex.flows.extraction.run_report import RunReport, ShardsLostError
from reeldex.flows.extraction.search_notes import NoteKind, SearchNote, notes_from_json, notes_to_json
from reeldex.storage.schema import REASONS, VideoOutcome


def _report(**fields: object) -> RunReport:
    known = {
        "store": "s",
        "shards_done": 3,
        "shards_lost": {},
        "extracted_ok": 5,
        "extracted_failed": 1,
        "seconds_of_video": 60.0,
        "seconds_of_work": 20.0,
        "device_seconds": 15.0,
        "waiting_seconds": 5.0,
        "failed_by_reason": {"missing": 1},
        "truncated": 0,
    }
    return RunReport(**{**known, **fields})  # type: ignore[arg-type]


def test_every_reason_has_a_remedy() -> None:
    assert set(REMEDIES) == set(REASONS)
    assert set(NOTE_REMEDIES) == set(OutcomeNote)


def test_videos_without_features_include_those_not_extracted_yet() -> None:
    nothing = _report(videos=6, extracted_ok=0, failed_by_reason={}, shards_done=0, shards_lost={0: "full"})
    assert "| Without features now | 6 |" in summary(nothing)
    assert "| - not extracted yet | 6 |" in summary(nothing)
    assert "not extracted yet" not in summary(_report(videos=6, with_features=5))


def test_the_report_tells_this_attempt_from_earlier_ones() -> None:
    retried = _report(videos=30, with_features=30, extracted_ok=28, extracted_now=26, extracted_failed=0)
    assert str(retried).startswith("30 of 30 have features, 26 from this attempt, 0 failed, 3 shards done; ")
    assert str(_report(videos=6, with_features=5)).startswith("5 videos extracted, 1 failed")


def test_a_run_that_ended_early_says_why_first() -> None:
    why = "The disk holding s is full: 3.2 MB free, this shard needs about 40.0 MB. Free space on it."
    error = ShardsLostError(_report(shards_lost={3: why}, shards_left=14, ended_by=why))
    assert str(error).startswith(why)
    assert str(error).count("is full") == 1
    assert "1 shard LOST: 00003; 14 shards left, because the run ended early" in str(error)
    assert "| Shards left, because the run ended early | 14 |" in summary(error.report)


def test_the_summary_says_what_bounds_the_speed() -> None:
    text = summary(_report(wall_seconds=21.0))
    assert "| the device: its networks were busy 75% of the time |" in text
    assert "| 21 s on 1 device: networks 75%, waiting for frames 25%, the rest 0% |" in text
    assert "decoding: the networks waited for frames 80% of the time" in summary(
        _report(device_seconds=4.0, waiting_seconds=16.0)
    )
    assert "nothing was extracted" in summary(_report(device_seconds=0.0, waiting_seconds=0.0))
    assert "60 s at 3.00 s of video per second" in summary(_report())
    assert "| - missing | 1 |" in summary(_report())


def test_lost_shards_are_listed_up_to_a_number_and_cannot_break_the_table() -> None:
    text = summary(_report(shards_lost=dict.fromkeys(range(2000), "a | pipe\nand a line")))
    assert "| 00000 | a \\| pipe and a line |" in text
    assert "1,950 more" in text
    assert len(text) < 10_000


def test_shards_lost_for_one_reason_are_named_together() -> None:
    message = str(ShardsLostError(_report(shards_lost=dict.fromkeys(range(30), "No memory."))))
    assert message.count("No memory.") == 1
    assert "00019 and 10 more: No memory." in message


def test_failures_are_listed_up_to_a_number_with_what_to_do() -> None:
    outcomes = [VideoOutcome("ok", "/ok.mp4", "ok", None, "", attempts=1)]
    outcomes += [
        VideoOutcome(f"v{index}", f"/{index}.mp4", "failed", "timeout", "x" * 10_000, attempts=1)
        for index in range(MOST_FAILURES_LISTED + 5)
    ]
    rows = failure_rows(outcomes)
    assert len(rows) == MOST_FAILURES_LISTED
    assert rows[0]["video"] == "/0.mp4"
    assert rows[0]["what to do"] == REMEDIES["timeout"]
    assert len(rows[0]["what happened"]) == 400


def test_videos_with_notes_are_listed_after_failures_and_counted() -> None:
    noted = VideoOutcome("n", "/n.mp4", "ok", None, "Track 2.", attempts=1, notes=("video_track", "hdr"))
    rows = failure_rows([noted])
    assert (rows[0]["reason"], rows[0]["what happened"]) == ("video track, hdr", "Track 2.")
    assert rows[0]["what to do"] == f"{NOTE_REMEDIES['video_track']} {NOTE_REMEDIES['hdr']}"
    assert "| Note: video track | 3 |" in summary(_report(noted={"video_track": 3}))


@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_contact_sheet_holds_its_pictures_itself(count: int) -> None:
    sheet = contact_sheet([Picture(f"a|b_{index}", 1.25, f"jpeg {index}".encode()) for index in range(count)])
    images = re.findall(r"!\[\]\(data:image/jpeg;base64,([^)]*)\)", sheet)
    assert [base64.b64decode(image).decode() for image in images] == [f"jpeg {index}" for index in range(count)]
    assert sheet.count("a\\|b_") == count
    assert {line.replace("\\|", "").count("|") for line in sheet.splitlines()} == {5}, "every row has four cells"


def test_what_was_not_searched_is_in_the_summary_and_an_unreadable_folder_is_a_failure() -> None:
    other = SearchNote(NoteKind.OTHER_ENDING, 12, ("12 .txt, such as a|b.txt",))
    closed = SearchNote(NoteKind.UNREADABLE_FOLDER, 1, ("private",))
    equal = SearchNote(NoteKind.EQUAL_NAME, 2, ("p1/cut.mp4", "p2/cut.mp4"))
    text = summary(_report(notes=(other, closed, equal)))
    assert "| Not searched | 12 files with other endings (12 .txt, such as a\\|b.txt, ...) |" in text
    assert "| Not searched | 1 folder that CANNOT BE READ (private) |" in text
    assert "| Equal names | 2 files have names of others" in text
    assert _report(failed_by_reason={}, notes=(other, equal)).succeeded
    assert not _report(failed_by_reason={}, notes=(closed,)).succeeded
    assert _report(notes=(other,)).to_json()["notes"] == [
        {"kind": "other_ending", "count": 12, "examples": ["12 .txt, such as a|b.txt"]}
    ]
    assert notes_from_json(notes_to_json((other, closed, equal))) == (other, closed, equal)


@pytest.mark.parametrize(("count", "examples"), [(0, ()), (1, ()), (1, ("a", "b")), (9, tuple("abcdef"))])
def test_a_note_counts_what_it_names(count: int, examples: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="names at most"):
        SearchNote(NoteKind.HIDDEN, count, examples)
