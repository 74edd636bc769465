"""Repairs the times of pictures that jump: decides for each picture by how much its time is moved.

A file whose times never go back by more than a second, nor beyond the end that it states, keeps all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reeldex.extractors.truncation import tolerance_seconds
from reeldex.quantities import counted

# Longer steps are jumps: back, times are wrong; forward, they are if they come back, or lead beyond the file's end.
_LONGEST_STEP = 1000
# Pictures after a jump forward wait for so many milliseconds of video (steps count up to one second each), or pictures.
_HELD_MILLISECONDS = 10_000
_HELD_PICTURES = 5000
_USUAL_STEP = 40
# A longer time without a picture is reported.
LONG_GAP_SECONDS = 10.0


@dataclass
class TimelineReport:
    """What is worth knowing about the times of a video. Places are in seconds of the repaired video.

    `first_at_seconds`, `first_jump_seconds` are the place and the length of the first repaired jump; `latest_seconds`
    is the latest time in the file, right or wrong.
    """

    pictures: int = 0
    moved: int = 0
    first_at_seconds: float | None = None
    first_jump_seconds: float = 0.0
    latest_seconds: float = 0.0
    gaps: list[tuple[float, float]] = field(default_factory=list)

    def repaired(self) -> str | None:
        """Return the sentence on repaired times, None if there are none."""
        if not self.moved or self.first_at_seconds is None:
            return None
        late = "late" if self.first_jump_seconds > 0 else "early"
        return (
            f"The times of {self.moved:,} of {counted(self.pictures, 'picture')} are wrong, the first one, at "
            f"{self.first_at_seconds:.1f} s, {abs(self.first_jump_seconds):,.1f} s too {late}; timestamps repaired: "
            "these pictures follow the ones before them."
        )

    def long_gaps(self) -> str | None:
        """Return the sentence on long times without a picture, None if there are none."""
        if not self.gaps:
            return None
        at, seconds = max(self.gaps, key=lambda gap: gap[1])
        return (
            f"There is no new picture for more than {LONG_GAP_SECONDS:g} seconds {len(self.gaps):,} "
            f"time{'s' if len(self.gaps) > 1 else ''}, at most for {seconds:,.1f} s from {at:,.1f} s on; rows of that "
            "time show one picture."
        )


class Timeline:
    """Takes the times of all decoded pictures and of the end of the last one, and returns their shifts, in order.

    All are in milliseconds; None is a picture without a time. After a jump forward, shifts wait until it is known
    whether the times come back. `end_seconds` is the end that the file states, None if it states none. Of a video whose
    pictures have not followed each other yet, a jump of more than `max_gap_seconds` is not repaired.
    """

    def __init__(self, end_seconds: float | None, max_gap_seconds: float) -> None:
        self.report = TimelineReport()
        self._latest_end = None if end_seconds is None else 1000 * (end_seconds + tolerance_seconds(end_seconds))
        self._max_gap = 1000 * max_gap_seconds
        self._shift = 0
        self._last: int | None = None  # the repaired time of the last picture whose shift is known
        self._step = _USUAL_STEP
        self._usual_steps = 0
        self._held: list[int | None] = []  # times of pictures whose shift is not known; the first has one
        self._held_first = self._held_last = 0
        self._held_milliseconds = 0

    def push(self, time: int | None) -> list[int]:
        """Take the time of the next picture; return the shifts that are known now."""
        self.report.pictures += 1
        if time is not None:
            self.report.latest_seconds = max(self.report.latest_seconds, time / 1000)
        return self._counted(self._push(time))

    def finish(self) -> list[int]:
        """Return the shifts that waited, at the end of the video."""
        shifts = self._counted(self._release())
        # The end of the last picture is not a picture.
        self.report.pictures -= 1
        self.report.moved -= self._shift != 0
        return shifts

    def _counted(self, shifts: list[int]) -> list[int]:
        self.report.moved += sum(shift != 0 for shift in shifts)
        return shifts

    def _push(self, time: int | None) -> list[int]:
        if self._held:
            return self._push_held(time)
        if time is None:
            return [self._shift]
        if self._last is None:
            # A first picture that is late is shown from 0 on.
            self._last = min(time, 0)
        self._shift = self._original_if_it_fits(time, self._last)
        step = time + self._shift - self._last
        if step < -_LONGEST_STEP or (step > _LONGEST_STEP and self._is_beyond_end(time + self._shift)):
            return [self._follow(time, self._last)]
        if step > _LONGEST_STEP:
            self._held, self._held_milliseconds = [time], 0
            self._held_first = self._held_last = time + self._shift
            return []
        self._accept(time)
        return [self._shift]

    def _push_held(self, time: int | None) -> list[int]:
        if time is not None:
            step = time + self._shift - self._held_last
            if step < -_LONGEST_STEP:
                shifts = self._squeeze() if self._came_back(time + self._shift) else self._release()
                return shifts + self._push(time)
            self._held_milliseconds += min(max(step, 0), _LONGEST_STEP)
            self._held_last = time + self._shift
        self._held.append(time)
        if self._held_milliseconds > _HELD_MILLISECONDS or len(self._held) > _HELD_PICTURES:
            return self._release()
        return []

    def _came_back(self, time: int) -> bool:
        """Whether a picture after those that wait belongs to the ones before them."""
        before = self._last or 0
        is_nearer = time - before < self._held_first - time
        return is_nearer and (self._usual_steps > 1 or self._held_first - before <= self._max_gap)

    def _release(self) -> list[int]:
        """Accept the times of pictures that waited: the file has none for the time before them."""
        held, self._held = self._held, []
        for time in held:
            if time is not None:
                self._accept(time)
        return [self._shift] * len(held)

    def _squeeze(self) -> list[int]:
        """Move the pictures that waited to those before them, each jump among them too."""
        held, self._held = self._held, []
        original, shifts = self._shift, []
        for time in held:
            last = self._last
            if time is not None and last is not None:
                if abs(time + self._shift - last) > _LONGEST_STEP:
                    self._follow(time, last)
                else:
                    self._accept(time)
            shifts.append(self._shift)
        self._shift = original
        return shifts

    def _original_if_it_fits(self, time: int, last: int) -> int:
        """Return 0 if the picture fits better there than to the current shift, else that shift."""
        expected = last + self._step
        own, shifted = abs(time - expected), abs(time + self._shift - expected)
        return 0 if own < shifted and own <= _LONGEST_STEP else self._shift

    def _is_beyond_end(self, time: int) -> bool:
        return self._latest_end is not None and time > self._latest_end

    def _follow(self, time: int, last: int) -> int:
        """Begin a shift with which the picture follows the last one; return it."""
        if self.report.first_at_seconds is None:
            self.report.first_at_seconds = (last + self._step) / 1000
            self.report.first_jump_seconds = (time + self._shift - last - self._step) / 1000
        self._shift = last + self._step - time
        self._last = last + self._step
        return self._shift

    def _accept(self, time: int) -> None:
        last = time if self._last is None else self._last
        step = time + self._shift - last
        self._note_gap(last, time + self._shift)
        if 0 < step <= _LONGEST_STEP:
            self._step = step
            self._usual_steps += 1
        self._last = max(last, time + self._shift)

    def _note_gap(self, start: int, end: int) -> None:
        if end - start > 1000 * LONG_GAP_SECONDS:
            self.report.gaps.append((start / 1000, (end - start) / 1000))


def shift_in_samples(milliseconds: int, frames_per_second: int) -> int:
    """Return a shift of time in samples, rounded."""
    return round(milliseconds * frames_per_second / 1000)
