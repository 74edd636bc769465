from __future__ import annotations

import pytest

from reeldex.embedding.captions import VideoCaptions
from reeldex.search.moments import Window, caption_windows, sliding_windows


@pytest.mark.parametrize(
    ("duration", "window", "stride", "spans"),
    [
        (3.0, 8, 4, [(0, 3)]),
        (8.0, 8, 4, [(0, 8)]),
        (8.5, 8, 4, [(0, 8), (4, 8.5)]),
        (12.0, 8, 4, [(0, 8), (4, 12)]),
        (21.0, 8, 4, [(0, 8), (4, 12), (8, 16), (12, 20), (16, 21)]),
        (10.0, 5, 5, [(0, 5), (5, 10)]),
        (0.1, 8, 4, [(0, 0.1)]),
    ],
)
def test_windows_of_a_video_reach_its_end(
    duration: float, window: float, stride: float, spans: list[tuple[float, float]]
) -> None:
    found = sliding_windows(duration, window, stride)
    assert [(each.start_seconds, each.end_seconds) for each in found] == spans


def test_windows_of_a_clip_are_times_of_its_file() -> None:
    found = sliding_windows(70.0, 8, 4, 58.5)
    assert [(each.start_seconds, each.end_seconds) for each in found] == [(58.5, 66.5), (62.5, 70.0)]
    captions = VideoCaptions((0.0, 55.0, 61.0), (2.0, 60.0, 90.0), ("before", "a", "b"))
    assert caption_windows(captions, 0.0, 70.0, 58.5) == (Window(58.5, 60.0, "a"), Window(61.0, 70.0, "b"))


@pytest.mark.parametrize(
    ("duration", "window", "stride"), [(0.0, 8, 4), (9.0, 4, 8), (9.0, 4, 0), (float("nan"), 8, 4)]
)
def test_windows_that_would_leave_gaps_are_refused(duration: float, window: float, stride: float) -> None:
    with pytest.raises(ValueError, match="0 < stride <= window"):
        sliding_windows(duration, window, stride)


def test_captions_grow_as_in_training_and_equal_windows_are_one_moment() -> None:
    captions = VideoCaptions((0.0, 2.0, 10.0, 30.0, 90.0), (2.0, 4.0, 16.0, 31.0, 95.0), ("a", "b", "c \n d", "e", "f"))
    assert caption_windows(captions, 4.0, 93.0) == (
        Window(0.0, 4.0, "a b"),
        Window(10.0, 16.0, "c d"),
        Window(10.0, 31.0, "c d e"),
        Window(90.0, 93.0, "f"),
    )
    assert caption_windows(captions, 0.0, 11.0)[-1] == Window(10.0, 11.0, "c d")
    late = VideoCaptions((50.0,), (60.0,), ("late",))
    assert caption_windows(late, 5.0, 50.0) == ()


def test_a_window_is_a_span() -> None:
    with pytest.raises(ValueError, match="cannot last from 3 to 3 seconds"):
        Window(3, 3)
