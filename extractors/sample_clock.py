"""How often each picture of a video is shown at a constant rate: the arithmetic of ffmpeg's `fps` filter.

ffmpeg drops what no sample shows and hands over the rest once; repeating is done here. In ffmpeg, a gap between two
time stamps would become as many frames in memory as it has ticks.
"""

from __future__ import annotations

from collections.abc import Iterator

# Before every time stamp: where pictures stand that come without one, until there is one.
BEFORE_ALL_TICKS = -(10**10)


class SampleClock:
    """Counts the samples that show each picture, as `fps=R,fps=R:start_time=0` of ffmpeg makes them.

    A tick is the time of a decoded picture in samples: seconds x R, rounded to the nearest. Each sample shows the last
    picture whose tick is not after it. Samples begin at 0: a first picture that comes late stands from 0 on. A tick
    that is before an earlier one counts as that one, a picture without a tick takes the place of the one before it.

    Of the pictures, those are handed over that end a run of equal ticks, and the first one besides.
    """

    def __init__(self) -> None:
        self.samples = 0  # counted so far
        self._tick: int | None = None
        self._run_length = 0
        self._runs = 0

    def advance(self, tick: int | None) -> Iterator[int]:
        """Take the tick of the next decoded picture, or the end of the last one; yield counts that it decides.

        There is one count for each picture handed over, in their order. The run at hand has no count yet: at the end
        of the video it is that of the end itself, which is no picture.
        """
        # ffmpeg's filters may turn "no time stamp" into a number, the least that there is.
        value = BEFORE_ALL_TICKS if tick is None else max(tick, BEFORE_ALL_TICKS)
        if self._tick is None:
            self._tick, self._run_length = value, 1
            return
        if value <= self._tick:
            self._run_length += 1
            return
        if self._runs == 0 and self._run_length > 1:
            yield 0  # the first picture, handed over besides the one that ends its run
        # Pictures ahead of the first one with a time stamp are never shown.
        count = 0 if self._tick == BEFORE_ALL_TICKS else max(0, value - self.samples)
        yield count
        self.samples += count
        self._tick, self._run_length = value, 1
        self._runs += 1
