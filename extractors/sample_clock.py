"""How often each picture of a video is shown at a constant rate: the arithmetic of ffmpeg's `fps` filter.

ffmpeg drops pictures that no sample shows and writes the others once; they are repeated here. In ffmpeg, a gap between
two timestamps would be expanded to as many frames in memory as it has ticks.
"""

from __future__ import annotations

from collections.abc import Iterator

# Earlier than every timestamp: the tick of pictures before the first one with a timestamp.
BEFORE_ALL_TICKS = -(10**10)


class SampleClock:
    """Counts the samples that show each picture, as `fps=R,fps=R:start_time=0` of ffmpeg makes them.

    A tick is the time of a decoded picture in samples: seconds x R, rounded to the nearest. Each sample shows the last
    picture whose tick is not after it. Samples begin at 0: a late first picture is shown from 0 on. A tick that
    is less than an earlier one counts as that one; a picture without a tick replaces the one before it.

    Pictures that end a run of equal ticks are passed on, and also the very first one. What differs within a run of
    equal ticks is that of its first picture.
    """

    def __init__(self) -> None:
        self.samples = 0  # counted so far
        self._tick: int | None = None  # of the current run, as the file has it
        self._value = BEFORE_ALL_TICKS  # the largest one so far, repaired
        self._run_length = 0
        self._runs = 0

    def advance(self, tick: int | None, shift: int = 0) -> Iterator[int]:
        """Process the tick of the next decoded picture, or the end of the last one; yield the counts it determines.

        `shift` is added to a tick that is wrong. There is one count per picture passed on, in order. The current run
        has no count yet: at the end of the video it is the end itself, which is not a picture.
        """
        # ffmpeg's filters may convert "no timestamp" to the smallest integer.
        is_time = tick is not None and tick > BEFORE_ALL_TICKS
        found = tick if tick is not None and is_time else BEFORE_ALL_TICKS if self._tick is None else self._tick
        value = max(self._value, found + shift if is_time else BEFORE_ALL_TICKS)
        if self._tick is None:
            self._tick, self._value, self._run_length = found, value, 1
            return
        if found == self._tick:
            self._run_length += 1
            return
        if self._runs == 0 and self._run_length > 1:
            yield 0  # the first picture, passed on in addition to the one that ends its run
        # Pictures before the first one with a timestamp are never shown.
        count = 0 if self._value == BEFORE_ALL_TICKS else max(0, value - self.samples)
        yield count
        self.samples += count
        self._tick, self._value, self._run_length = found, value, 1
        self._runs += 1
