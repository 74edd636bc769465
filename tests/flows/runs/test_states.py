"""The final state of a run: its name and its message."""

from __future__ import annotations

import pytest

from reeldex.flows.extraction.search_notes import NoteKind, SearchNote
from reeldex.flows.runs.states import completed
from tests.flows.extraction.test_report import _report

UNREADABLE = SearchNote(NoteKind.UNREADABLE_FOLDER, 1, ("/videos/private",))
HIDDEN = SearchNote(NoteKind.HIDDEN, 2, ("/videos/.a", "/videos/.b"))


@pytest.mark.parametrize(
    ("failed", "notes", "name", "begins"),
    [
        ({}, (HIDDEN,), "Completed", "5 videos extracted, "),
        ({"missing": 1}, (), "Completed with failures", "1 video has no features: 1 missing. 5 videos extracted, "),
        (
            {"missing": 1, "timeout": 2},
            (UNREADABLE,),
            "Completed with failures",
            f"3 videos have no features: 1 missing, 2 timeout. Not searched: {UNREADABLE}. 5 videos extracted, ",
        ),
        (
            {},
            (HIDDEN, UNREADABLE),
            "Completed with failures",
            "Not searched: 1 folder that CANNOT BE READ (/videos/private). 5 videos extracted, ",
        ),
    ],
)
def test_a_state_says_what_failed(
    failed: dict[str, int], notes: tuple[SearchNote, ...], name: str, begins: str
) -> None:
    state = completed(_report(failed_by_reason=failed, notes=notes))
    assert state.name == name
    assert (state.message or "").startswith(begins)
