"""Divides a video into moments: pure functions of times and captions."""

from __future__ import annotations

from dataclasses import dataclass

from reeldex.embedding.captions import VideoCaptions, grow_window


@dataclass(frozen=True, slots=True)
class Window:
    """A span of a video in seconds, with its caption; raises ValueError for an invalid span."""

    start_seconds: float
    end_seconds: float
    caption: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start_seconds < self.end_seconds:
            raise ValueError(f"A window cannot last from {self.start_seconds} to {self.end_seconds} seconds.")


def sliding_windows(
    end_seconds: float, window_seconds: float, stride_seconds: float, start_seconds: float = 0.0
) -> tuple[Window, ...]:
    """Divide a video into windows that begin every `stride_seconds`; the last one reaches the end and no further.

    A video no longer than a window is one moment. Raises ValueError unless 0 < stride <= window and the end is after
    the start: a longer stride would leave gaps.
    """
    if not (0 < stride_seconds <= window_seconds and end_seconds > start_seconds):
        raise ValueError(
            f"Windows need 0 < stride <= window and a video; got {window_seconds} s every {stride_seconds} s of "
            f"{end_seconds - start_seconds} s."
        )
    windows: list[Window] = []
    while not windows or windows[-1].end_seconds < end_seconds:
        # Multiplied, not accumulated: the hundredth start is exact.
        start = start_seconds + len(windows) * stride_seconds
        windows.append(Window(start, min(start + window_seconds, end_seconds)))
    return tuple(windows)


def caption_windows(
    captions: VideoCaptions, min_seconds: float, end_seconds: float, start_seconds: float = 0.0
) -> tuple[Window, ...]:
    """Return the windows that a video's captions are extended to, as in training, ordered by start.

    Captions with the same window are one moment; its text is that of all its captions. Windows are clipped to the
    start and the end of the video; those beyond them are left out.
    """
    found: dict[tuple[float, float], Window] = {}
    for caption in range(len(captions)):
        grown = grow_window(captions, caption, min_seconds)
        start, end = max(grown.start_seconds, start_seconds), min(grown.end_seconds, end_seconds)
        if start < end and (start, end) not in found:
            text = " ".join(" ".join(captions.texts[grown.first : grown.last + 1]).split())
            found[start, end] = Window(start, end, text)
    return tuple(found[span] for span in sorted(found))
