from __future__ import annotations

import pytest

from reeldex.flows.runs.progress_artifact import ended


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "Progress: 1 of 4 videos done, 0 failed, 1.6 s of video per second, about 3 min left",
            "Progress: 1 of 4 videos done, 0 failed, 1.6 s of video per second; ended",
        ),
        ("Progress: 9 of 9 videos done, about 1 h 34 min left", "Progress: 9 of 9 videos done; ended"),
        ("Progress: Starting", "Progress: Starting; ended"),
        ("Progress: Starting; ended", "Progress: Starting; ended"),
    ],
)
def test_ended_progress_has_no_time_left(said: str, expected: str) -> None:
    assert ended(said) == expected
