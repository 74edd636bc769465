"""The published extractor, re-created: one network per process, each with a decode of its own, in eager float32.

python -m benchmarks.published NETWORK OUT VIDEO...

It processes one video after the other, holds the whole video in memory as float32, and runs the network as trained,
without folding or channels-last memory. The weights are reeldex's random ones, so that its rows can be compared. Each
video's rows are written to OUT as .npy files. Prints the seconds of work, without imports and weights.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from reeldex.extractors import ffmpeg
from reeldex.extractors.clips import to_clips
from reeldex.extractors.preprocess import normalise
from reeldex.extractors.random_weights_cache import cached_random_state
from reeldex.extractors.registry import EXTRACTORS

BATCH_ROWS = 2  # more gain next to nothing on a CPU


def trained_network(name: str) -> torch.nn.Module:
    """Return a network as published: BatchNorm not folded, contiguous memory."""
    record = EXTRACTORS[name]
    module = record.build().eval()
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    state, _ = cached_random_state(name, shapes, record.branch_gain_suffixes)
    module.load_state_dict(state)
    module.fc = torch.nn.Identity()
    return module


def published_method(path: Path, name: str, module: torch.nn.Module, batch_rows: int) -> NDArray[np.float16]:
    """Return the (R, 2048) float16 rows of one video by one network, decoded for this network only."""
    spec = EXTRACTORS[name].spec
    side = spec.short_side_pixels
    scale = f"scale=w='if(gte(ih,iw),{side},trunc(iw*{side}/ih))':h='if(gte(ih,iw),trunc(ih*{side}/iw),{side})'"
    crop = f",crop={side}:{side}:trunc((iw-{side})/2):trunc((ih-{side})/2)" if spec.centre_crop else ""
    graph = f"fps={spec.frames_per_second},{scale}{crop}"
    command = [ffmpeg.executable(), "-v", "error", "-i", f"file:{path}", "-vf", graph, "-f", "image2pipe"]
    raw = subprocess.run(
        [*command, "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"], capture_output=True, check=True
    ).stdout
    header = raw[: raw.index(b"255\n") + 4]
    width, height = (int(number) for number in header.split()[1:3])
    records = np.frombuffer(bytearray(raw), np.uint8).reshape(-1, len(header) + 3 * width * height)
    frames = records[:, len(header) :].reshape(-1, height, width, 3)
    # Not batch by batch: the published code normalises the whole video.
    clips = normalise(torch.from_numpy(to_clips(frames, spec.frames_per_clip)), spec)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(clips), batch_rows):
            batch = clips[start : start + batch_rows].contiguous()
            rows.append(torch.nn.functional.normalize(module(batch), dim=1).half().numpy())
    return np.concatenate(rows)


def main() -> None:
    """Extract with one network and write the rows."""
    name, out, *videos = sys.argv[1:]
    module = trained_network(name)
    started = time.perf_counter()
    for video in map(Path, videos):
        np.save(Path(out) / f"{video.name}.{name}.npy", published_method(video, name, module, BATCH_ROWS))
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
