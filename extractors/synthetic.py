"""A small synthetic data set with captions, in the file format of MSR-VTT.

Each video is one combination of a colour, a texture, a shape and a motion; its captions name all four. A model
trained on some combinations is tested on the others.
"""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ffmpeg as ffmpeg_python
import numpy as np

from reeldex.extractors import ffmpeg, ffmpeg_process

WIDTH, HEIGHT, FRAMES_PER_SECOND = 64, 64, 24
SECONDS = 16 / FRAMES_PER_SECOND  # one clip of the 3-D network, one frame of the 2-D one

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 60),
    "blue": (40, 60, 220),
    "yellow": (240, 220, 40),
}
# The darker pixels, as an expression of the pixel's position.
TEXTURES = {
    "plain": "0",
    "striped": "mod(floor(X/8),2)",
    "chequered": "mod(floor(X/16)+floor(Y/16),2)",
}
# The white pixels, as an expression of the pixel's position and of {x}, the centre of the shape.
SHAPES = {
    "square": "lt(max(abs(X-{x}),abs(Y-32)),13)",
    "ring": "between(hypot(X-{x},Y-32),11,18)",
    "bar": "lt(abs(Y-32),6)",
}
# The centre of the shape, and the brightness of the picture, as expressions of the frame number.
MOTIONS = {
    "still": ("32", "1"),
    "sliding": ("(8+3*N)", "1"),
    "flashing": ("32", "(0.25+0.75*lt(mod(N,4),2))"),
}
_TEMPLATES = (
    "a {motion} white {shape} on a {texture} {colour} ground",
    "the ground is {colour} and {texture} with a {shape} that is {motion}",
    "{texture} {colour} and a {motion} {shape}",
)


@dataclass(frozen=True)
class SyntheticVideo:
    """The content of one video."""

    colour: str
    texture: str
    shape: str
    motion: str

    @property
    def video_id(self) -> str:
        """Its file name without the suffix; it does not describe the content."""
        places = (
            list(COLOURS).index(self.colour),
            list(TEXTURES).index(self.texture),
            list(SHAPES).index(self.shape),
            list(MOTIONS).index(self.motion),
        )
        return "video" + "".join(str(place) for place in places)

    def captions(self) -> list[str]:
        """Return several captions of its content."""
        shown = {"colour": self.colour, "texture": self.texture, "shape": self.shape, "motion": self.motion}
        return [template.format(**shown) for template in _TEMPLATES]

    def picture(self) -> str:
        """Return the ffmpeg source that generates it."""
        middle, brightness = MOTIONS[self.motion]
        shape = SHAPES[self.shape].format(x=middle)
        planes = ":".join(
            f"{plane}='{brightness}*if({shape},255,{value}*(1-0.6*{TEXTURES[self.texture]}))'"
            for plane, value in zip("rgb", COLOURS[self.colour], strict=True)
        )
        size = f"s={WIDTH}x{HEIGHT}:r={FRAMES_PER_SECOND}:d={SECONDS}"
        return f"color=black:{size},format=gbrp,geq={planes}"


def split(test_share: float = 1 / 3) -> tuple[list[SyntheticVideo], list[SyntheticVideo]]:
    """Split all combinations deterministically into training and test videos."""
    everything = [SyntheticVideo(*shown) for shown in itertools.product(COLOURS, TEXTURES, SHAPES, MOTIONS)]
    order = np.random.default_rng(0).permutation(len(everything))
    tested = round(len(everything) * test_share)
    return [everything[at] for at in sorted(order[tested:])], [everything[at] for at in sorted(order[:tested])]


def make_synthetic(folder: Path) -> tuple[list[SyntheticVideo], list[SyntheticVideo]]:
    """Create `folder`/videos and the files of MSR-VTT beside it; return the training and test videos.

    `captions.json` contains the captions in HowTo100M's format, for display with search results. Existing videos are
    kept. Raises RuntimeError.
    """
    train, test = split()
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    for video in [*train, *test]:
        path = folder / "videos" / f"{video.video_id}.mp4"
        if not path.exists():
            _make(video, path)
    _write_rows(folder / "MSRVTT_train.csv", [["video_id"], *([video.video_id] for video in train)])
    sentences = [{"video_id": video.video_id, "caption": said} for video in train for said in video.captions()]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"sentences": sentences}, indent=1), encoding="utf-8")
    tested = [[video.video_id, video.captions()[0]] for video in test]
    _write_rows(folder / "MSRVTT_JSFUSION_test.csv", [["video_id", "sentence"], *tested])
    shown = {
        video.video_id: {"start": [0.0], "end": [SECONDS], "text": [video.captions()[0]]} for video in [*train, *test]
    }
    (folder / "captions.json").write_text(json.dumps(shown, indent=1), encoding="utf-8")
    return train, test


def _make(video: SyntheticVideo, path: Path) -> None:
    # Under a temporary name first, so that an interrupted run leaves no incomplete video under the final name.
    unfinished = path.with_name(f".unfinished-{path.name}")
    command = (
        ffmpeg_python.input(video.picture(), format="lavfi")
        .output(ffmpeg.input_url(str(unfinished)), pix_fmt="yuv420p", crf=12)
        .overwrite_output()
        .get_args()
    )
    answer = subprocess.run([*ffmpeg_process.command(), "-v", "error", *command], capture_output=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"ffmpeg could not create {path}: {answer.stderr.decode('utf-8', 'replace')}")
    unfinished.replace(path)


def _write_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
