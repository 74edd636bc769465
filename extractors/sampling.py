"""The ffmpeg filters that sample a decoded video for an extractor, and the timestamps that they print."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ffmpeg as ffmpeg_python

from reeldex.extractors import ffmpeg
from reeldex.extractors.sample_clock import BEFORE_ALL_TICKS

if TYPE_CHECKING:
    from reeldex.extractors.spec import ExtractorSpec

_TICK = re.compile(rb"frame:\d+\s+pts:(\S+)")
_READ_BYTES = 64 * 1024
_MILLISECONDS = 1000

# Larger than any tick of a video: 13 years at 24 per second.
_AFTER_ALL_TICKS = 10**10
# First picture number: ffmpeg 4.2 passes the end of the video in ticks to the filter after the numbering, which
# would repeat the last picture up to there if its number were lower.
_FIRST_NUMBER = 10**11

WITHOUT_TITLES = {"map_metadata": -1}
"""An output option: ffmpeg describes its outputs among the messages that `complaints` reads, with the file's titles."""


@dataclass(frozen=True)
class PictureChange:
    """How pictures are changed before the networks see them; by default not at all.

    - `square_pixels`: stretch pictures with non-square pixels to the shape that players show.
    - `colour_table`: path of a table of colours (.cube) that is applied to RGB; `matrix` is ffmpeg's name of the matrix
      from which RGB is computed, None for that of the stream.
    - `size`: (height, width) of the pictures before they are scaled, None if not known for certain.
    """

    square_pixels: bool = False
    colour_table: str | None = None
    matrix: str | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Pipes:
    """File descriptors: for each extractor, of its pictures and of their ticks; `clock`, of all pictures' times."""

    streams: tuple[tuple[int, int], ...]
    clock: int

    @classmethod
    def of(cls, descriptors: Sequence[int]) -> Pipes:
        """Return these descriptors, of which the last is that of the clock."""
        return cls(tuple(zip(descriptors[:-1:2], descriptors[1:-1:2], strict=True)), descriptors[-1])

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        return (*itertools.chain.from_iterable(self.streams), self.clock)


def sampled_outputs(
    stream: ffmpeg_python.nodes.FilterableStream,
    specs: Sequence[ExtractorSpec],
    pipes: Pipes,
    change: PictureChange = PictureChange(),
) -> list[Any]:
    """Return the outputs of a decoded stream: for each of `specs` its pictures, and the tick of each decoded picture.

    The pictures, as PPM images, are those that SampleClock counts. The ticks, as lines of text, are those of all
    decoded pictures, followed by the end of the last one. The clock gets the same times in milliseconds.
    """
    every_frame = {**ffmpeg.passthrough_option(), **WITHOUT_TITLES}
    branches = stream.filter_multi_output("split", len(specs) + 1)
    clocks = _small_and_ended(branches[len(specs)]).filter_multi_output("split", len(specs) + 1)
    clock = _printed(clocks[len(specs)], _MILLISECONDS, pipes.clock)
    outputs = [ffmpeg_python.output(clock, "-", format="null", **every_frame)]
    for at, (spec, (picture_pipe, tick_pipe)) in enumerate(zip(specs, pipes.streams, strict=True)):
        rate = spec.frames_per_second
        pictures = _scaled(_last_of_each_run(branches[at], rate), spec, change).filter("setpts", "N")
        ppm = {"format": "image2pipe", "vcodec": "ppm", "pix_fmt": "rgb24"}
        outputs.append(ffmpeg_python.output(pictures, f"pipe:{picture_pipe}", **ppm, **every_frame))
        outputs.append(ffmpeg_python.output(_printed(clocks[at], rate, tick_pipe), "-", format="null", **every_frame))
    return outputs


def _small_and_ended(stream: ffmpeg_python.nodes.FilterableStream) -> Any:  # noqa: ANN401 - an untyped library
    """Keep only the timestamps of pictures, and add one at the end of the last picture."""
    # Small grey pictures make the next filters cheap; tpad would also convert pixel formats that it does not support.
    small = stream.filter("scale", 8, 8, flags="neighbor").filter("format", "gray")
    return small.filter("tpad", stop=1, stop_mode="clone")


def _printed(stream: ffmpeg_python.nodes.FilterableStream, rate: int, pipe: int) -> Any:  # noqa: ANN401
    return (
        stream.filter("settb", f"1/{rate}")  # rounds as the filter `fps` does
        # Only pictures with metadata are printed. This filter always adds some; "metadata=add" of ffmpeg 4.2 does not.
        .filter("blackframe", amount=0)
        .filter("metadata", "print", file=f"pipe:{pipe}", **ffmpeg.unbuffered_print_option())
        # Evenly spaced, at a rate that the output uses: it reports errors for repeated timestamps.
        .filter("setpts", f"N+{_FIRST_NUMBER}")
        .filter("fps", fps=rate)
    )


def _last_of_each_run(stream: ffmpeg_python.nodes.FilterableStream, rate: int) -> Any:  # noqa: ANN401
    """Keep the last one of successive pictures with equal ticks, and also the very first picture."""
    # A comparison with NaN, which is no time, is false.
    latest = f"if(gt(PTS,{BEFORE_ALL_TICKS}),PTS,if(isnan(PREV_OUTPTS),{BEFORE_ALL_TICKS},PREV_OUTPTS))"
    ticks = stream.filter("settb", f"1/{rate}").filter("setpts", latest)
    halves = ticks.filter_multi_output("split", 2)
    # The next picture completes a run; the last one is followed by the first picture again.
    last = halves[1].filter("trim", end_frame=1).filter("setpts", str(_AFTER_ALL_TICKS))
    numbers = f"if(isnan(PREV_OUTPTS),{_FIRST_NUMBER},PREV_OUTPTS+max(not(eq(PTS,PREV_INPTS)),eq(N,1)))"
    return (
        ffmpeg_python.concat(halves[0], last, v=1, a=0)
        .filter("settb", f"1/{rate}")
        .filter("setpts", numbers)
        # Numbers increase by at most one, so that nothing is repeated, whatever the timestamps are.
        .filter("fps", fps=rate)
    )


def _scaled(stream: ffmpeg_python.nodes.FilterableStream, spec: ExtractorSpec, change: PictureChange) -> Any:  # noqa: ANN401
    side = spec.short_side_pixels
    width = "(iw*sar)" if change.square_pixels else "iw"
    matrix = {"in_color_matrix": change.matrix} if change.matrix else {}
    # ffmpeg computes the size from the picture itself, after rotation, by the rule of spec.scaled_size.
    stream = stream.filter(
        "scale",
        w=f"if(gte(ih,{width}),{side},trunc({width}*{side}/ih))",
        h=f"if(gte(ih,{width}),trunc(ih*{side}/{width}),{side})",
        **matrix,
    )
    if change.colour_table:
        stream = stream.filter("format", "gbrp16le").filter("lut3d", file=change.colour_table, interp="tetrahedral")
    elif change.size is not None and spec.scaled_size(*change.size)[1] % 2:
        # In planes, the scaler computes RGB with vector instructions, and the same values where the width is odd. Of an
        # even width, it computes packed RGB from every other sample of chroma.
        stream = stream.filter("format", "gbrp")
    if spec.centre_crop:
        stream = stream.filter("crop", side, side, f"trunc((iw-{side})/2)", f"trunc((ih-{side})/2)")
    return stream


class TickReader:
    """Parses the filters' output: the tick of each picture, None for one without a timestamp."""

    def __init__(self) -> None:
        self.ended = False
        self._partial = b""

    def read_from(self, descriptor: int) -> Iterator[int | None]:
        """Read available bytes from a pipe that is ready and yield the ticks in them."""
        data = os.read(descriptor, _READ_BYTES)
        self.ended = not data
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            if match := _TICK.match(line):
                yield None if match[1] == b"NOPTS" else int(match[1])
