"""Peak memory of `reeldex extract` on a short and on a long video: it must not depend on the length.

python -m benchmarks.memory [--minutes 60]

The long video repeats the short one, of one minute, so that only the length differs. Both networks run, with random
weights. Peak memory is the kernel's ru_maxrss of the largest child process, which is the worker process with the
networks. On two cores an hour of video takes about 20 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reeldex.extractors import ffmpeg


def make_videos(folder: Path, minutes: int) -> tuple[Path, Path]:
    """Return a video of one minute and one of `minutes` minutes."""
    short, long = folder / "short.mp4", folder / "long.mp4"
    quiet = [ffmpeg.executable(), "-v", "error", "-nostdin"]
    picture = "testsrc2=size=640x360:rate=25:duration=60"
    subprocess.run([*quiet, "-f", "lavfi", "-i", picture, "-pix_fmt", "yuv420p", str(short)], check=True)
    repeat = ["-stream_loop", str(minutes - 1), "-i", str(short), "-c", "copy", str(long)]
    subprocess.run([*quiet, *repeat], check=True)
    return short, long


def peak_bytes(video: Path, store: Path) -> tuple[int, float]:
    """Return the peak memory in bytes and the wall-clock seconds of one `reeldex extract`."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "reeldex", "extract", str(video), "--store", str(store), "--weights", "random"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run failed with status {status}:\n{said}")
    kibibyte = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * kibibyte, time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        videos = make_videos(Path(folder), arguments.minutes)
        figures = {}
        for name, video in zip(("short", "long"), videos, strict=True):
            peak, seconds = peak_bytes(video, Path(folder) / f"store-{name}")
            figures[name] = {"peak_mib": round(peak / 2**20, 1), "wall_seconds": round(seconds, 1)}
            print(json.dumps({name: figures[name]}), flush=True)
        difference = figures["long"]["peak_mib"] - figures["short"]["peak_mib"]
    print(json.dumps({"minutes": [1, arguments.minutes], "difference_mib": round(difference, 1)}))


if __name__ == "__main__":
    main()
