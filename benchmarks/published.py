"""The published extractor, re-created: one network per process, each with a decode of its own, in eager float32.

python -m benchmarks.published NETWORK OUT VIDEO...

It decodes up to four videos at a time, ahead of the network, which takes one video after the other, as a whole and as
float32. The network is as trained, without folding or channels-last memory. The weights are
reeldex's random ones, so that its rows can be compared. Each video's rows are written to OUT as .npy files. Prints the
seconds of work, without imports and weights.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from reeldex.extractors import ffmpeg
from reeldex.extractors.clips import to_clips
from reeldex.extractors.preprocess import normalise
from reeldex.extractors.random_weights_cache import cached_random_state
from reeldex.extractors.registry import EXTRACTORS

# The published default, 64, is for GPUs. On 2 quiet cores, ResNet-152 took 0.148, 0.134, 0.145 and 0.176 s per row with
# 1, 2, 4 and 8 rows at a time.
BATCH_ROWS = 2
_DECODERS = 4  # the published default


def trained_network(name: str) -> torch.nn.Module:
    """Return a network as published: BatchNorm not folded, contiguous memory."""
    record = EXTRACTORS[name]
    module = record.build().eval()
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    state, _ = cached_random_state(name, shapes, record.branch_gain_suffixes)
    module.load_state_dict(state)
    module.fc = torch.nn.Identity()
    return module


def published_frames(path: Path, name: str) -> NDArray[np.uint8]:
    """Return the (F, H, W, 3) uint8 frames of one video for one network, all of them in memory."""
    spec = EXTRACTORS[name].spec
    side = spec.short_side_pixels
    scale = f"scale=w='if(gte(ih,iw),{side},trunc(iw*{side}/ih))':h='if(gte(ih,iw),trunc(ih*{side}/iw),{side})'"
    crop = f",crop={side}:{side}:trunc((iw-{side})/2):trunc((ih-{side})/2)" if spec.centre_crop else ""
    graph = f"fps={spec.frames_per_second},{scale}{crop}"
    command = [ffmpeg.executable(), "-v", "error", "-i", f"file:{path}", "-map", "0:v:0", "-vf", graph]
    raw = subprocess.run(
        [*command, "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"], capture_output=True, check=True
    ).stdout
    header = raw[: raw.index(b"255\n") + 4]
    width, height = (int(number) for number in header.split()[1:3])
    records = np.frombuffer(raw, np.uint8).reshape(-1, len(header) + 3 * width * height)
    return records[:, len(header) :].reshape(-1, height, width, 3).copy()


def published_rows(
    frames: NDArray[np.uint8], name: str, module: torch.nn.Module, batch_rows: int
) -> NDArray[np.float16]:
    """Return the (R, 2048) float16 rows of the frames of one video."""
    spec = EXTRACTORS[name].spec
    # Not batch by batch: the published code converts and normalises the whole video.
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
    paths = [Path(video) for video in videos]
    with ThreadPoolExecutor(_DECODERS) as pool:
        for path, frames in zip(paths, pool.map(lambda each: published_frames(each, name), paths), strict=True):
            np.save(Path(out) / f"{path.name}.{name}.npy", published_rows(frames, name, module, BATCH_ROWS))
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
