"""Speed on one CUDA device: networks, decoding, and both together. Needs PyTorch and ffmpeg, no Prefect.

    python -m benchmarks.gpu [--seconds 40] [--videos 32] [--json FILE]

Weights are random: they change neither the time nor, by design, the differences between precisions much.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reeldex.devices import usable_cores
from reeldex.extractors import ffmpeg
from reeldex.extractors.decode import decode
from reeldex.extractors.engine import default_decoders, extract
from reeldex.extractors.frames import VideoFeatures, VideoSource
from reeldex.extractors.hwaccel import hardware_decoders, unusable_reason
from reeldex.extractors.modules import load_module
from reeldex.extractors.network import load_network
from reeldex.extractors.options import DecodeOptions, EngineOptions, Hwaccel, NetworkOptions, Precision, WeightsChoice
from reeldex.extractors.preprocess import Normalisation
from reeldex.extractors.registry import EXTRACTORS, extractor
from reeldex.extractors.runtimes.cuda import CudaNetwork, arithmetic
from reeldex.extractors.runtimes.network import least_cosine
from reeldex.extractors.work_times import WorkTimes

NAMES = ("resnet152", "resnext101_3d")
# GFLOP per row: ResNet-152 on a frame of 224 x 398, ResNeXt-101 3-D on a clip of 16 x 112 x 112.
GFLOP = {"resnet152": 41.2, "resnext101_3d": 19.1}
SIZES = {"360p": ("640x360", "800k"), "1080p": ("1920x1080", "5M")}
ROWS = 64


def make_video(folder: Path, name: str, seconds: int) -> Path:
    """Make a moving test picture with noise, H.264, 30 frames a second."""
    size, bits = SIZES[name]
    path = folder / f"{name}.mp4"
    picture = f"testsrc2=size={size}:rate=30:duration={seconds},noise=alls=12:allf=t"
    encoding = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", bits, "-pix_fmt", "yuv420p", "-g", "250"]
    command = [ffmpeg.executable(), "-v", "error", "-y", "-f", "lavfi", "-i", picture, *encoding, str(path)]
    subprocess.run(command, check=True)
    return path


def clips_of(name: str, rows: int = ROWS) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return random clips of a 16:9 video."""
    spec = EXTRACTORS[name].spec
    height, width = spec.input_size(1080, 1920)
    shape = (rows, spec.frames_per_clip, height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def device_seconds(run: Callable[[], object], repeats: int = 10) -> float:
    """Return the median time of `run` on the device, after three runs to warm up."""
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(float(start.elapsed_time(end)) / 1000)
    return statistics.median(times)


def measure_network(name: str, *, compiled: bool) -> list[dict[str, Any]]:
    """Return rows per second of one network for each precision and way of computing it."""
    record, clips = extractor(name), clips_of(name)
    options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cuda:0", batch_rows=ROWS)
    exact = load_network(name, options.model_copy(update={"precision": Precision.FP32})).features(clips)
    results: list[dict[str, Any]] = []

    def record_result(how: str, precision: str, seconds: float, features: Any) -> None:  # noqa: ANN401 - array
        speed = ROWS / seconds
        results.append(
            {
                "network": name,
                "how": how,
                "precision": precision,
                "rows_per_second": speed,
                "tflops": speed * GFLOP[name] / 1000,
                "cosine": least_cosine(exact, features),
            }
        )
        print(f"  {name} {precision} {how}: {speed:,.0f} rows/s, {results[-1]['tflops']:.0f} TFLOP/s", flush=True)

    module = load_module(record, options)[0].to("cuda:0").half()
    normalisation, on_device = Normalisation(record.spec, "cuda:0"), torch.from_numpy(clips).to("cuda:0")

    def eager() -> torch.Tensor:
        raw = module(normalisation(on_device, torch.float16)).float()
        return torch.nn.functional.normalize(raw, dim=1).half()

    with torch.inference_mode(), arithmetic(Precision.FP16):
        record_result("eager", "fp16", device_seconds(eager), eager().cpu().numpy())
        if compiled:
            faster = torch.compile(eager, dynamic=False)
            started = time.perf_counter()
            faster()
            torch.cuda.synchronize()
            print(f"  torch.compile took {time.perf_counter() - started:.1f} s", flush=True)
            record_result("torch.compile", "fp16", device_seconds(faster), faster().cpu().numpy())
    for precision in (Precision.FP16, Precision.BF16, Precision.TF32, Precision.FP32):
        network = load_network(name, options.model_copy(update={"precision": precision}))
        assert isinstance(network, CudaNetwork)
        batch = network.new_batch(clips.shape)
        batch[:] = clips
        rows = network.features(batch)
        turned = network.features(np.ascontiguousarray(clips[::-1]))[::-1]
        print(f"  {name} {precision}: rows are batch-invariant: {bool((turned == rows).all())}")
        for _ in range(5):
            assert (network.features(batch) == rows).all(), "a CUDA graph computes other bytes"
        record_result("reeldex, with copies", precision, pipelined_seconds(network, batch), rows)
    return results


def pipelined_seconds(network: CudaNetwork, batch: np.ndarray[Any, np.dtype[np.uint8]], batches: int = 20) -> float:
    """Return the time per batch, from pinned memory to rows on the host, with several batches in flight."""
    pending: list[Any] = []
    started = time.perf_counter()
    for _ in range(batches):
        if len(pending) >= network.batches_in_flight:
            pending.pop(0).wait()
        pending.append(network.submit(batch))
    for each in pending:
        each.wait()
    return (time.perf_counter() - started) / batches


def decoding_speed(path: Path, videos: int, seconds: int, hwaccel: Hwaccel) -> float:
    """Return seconds of video per second of decoding alone, with as many decoders as the engine has."""
    specs, options = [EXTRACTORS[name].spec for name in NAMES], EngineOptions(decode=DecodeOptions(hwaccel=hwaccel))
    hardware = hardware_decoders(hwaccel, "cuda:0")

    def decode_all(number: int) -> None:
        source = VideoSource(str(number), str(path))
        for _ in decode(source, specs, options.limits, options=options.decode, hardware=hardware):
            pass

    with ThreadPoolExecutor(default_decoders(["cuda:0"])) as pool:
        started = time.perf_counter()
        list(pool.map(decode_all, range(videos)))
        return videos * seconds / (time.perf_counter() - started)


def whole_speed(path: Path, videos: int, seconds: int, hwaccel: Hwaccel, networks: Sequence[Any]) -> dict[str, Any]:
    """Return seconds of video per second of extraction with both networks, and the device's busy share."""
    sources = [VideoSource(str(number), str(path)) for number in range(videos)]
    times = WorkTimes()
    with busy_share() as busy:
        started = time.perf_counter()
        found = list(extract(sources, networks, EngineOptions(decode=DecodeOptions(hwaccel=hwaccel)), times=times))
        elapsed = time.perf_counter() - started
    assert all(isinstance(each, VideoFeatures) for each in found), "a video has failed"
    first = next(each for each in found if isinstance(each, VideoFeatures))
    for each in found:
        assert isinstance(each, VideoFeatures)
        for name, rows in each.rows.items():
            assert (rows == first.rows[name]).all(), "the same video has other rows"
    return {
        "video_seconds_per_second": videos * seconds / elapsed,
        "video_hours_per_day": videos * seconds / elapsed * 24,
        "device_busy_percent": busy[0] if busy else None,
        "engine_waited_share": times.waiting_seconds / elapsed,
    }


@contextlib.contextmanager
def busy_share() -> Iterator[list[float]]:
    """Yield a list that gets the mean utilisation of the device in percent, if nvidia-smi says it."""
    command = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200"]
    mean: list[float] = []
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    except OSError:
        yield mean
        return
    try:
        yield mean
    finally:
        process.terminate()
        said = process.communicate()[0].split()
        shares = [float(word) for word in said if word.replace(".", "").isdigit()]
        mean.extend([statistics.fmean(shares)] if shares else [])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=40, help="length of each video")
    parser.add_argument("--videos", type=int, default=32, help="videos of each size")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--no-hardware", action="store_true", help="leave the hardware decoder out")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("No CUDA device.", file=sys.stderr)
        return 2
    result: dict[str, Any] = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "card": torch.cuda.get_device_name(0),
        "cores": usable_cores(),
        "torch": torch.__version__,
        "ffmpeg": ffmpeg.version(),
        "python": platform.python_version(),
        "video_seconds": options.seconds,
        "videos": options.videos,
        "networks": [],
        "decoding": {},
        "whole": {},
    }
    print(f"{result['card']}, {result['cores']} cores, torch {result['torch']}, ffmpeg {result['ffmpeg']}", flush=True)

    def save() -> None:
        if options.json is not None:
            options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")

    unusable = "not asked for" if options.no_hardware else unusable_reason(0)
    modes = [Hwaccel.NONE] if unusable else list(Hwaccel)
    if unusable:
        print(f"The hardware decoder is left out: {unusable}")
    with tempfile.TemporaryDirectory() as folder:
        loading = NetworkOptions(weights=WeightsChoice.RANDOM, device="cuda:0")
        started = time.perf_counter()
        networks = [load_network(name, loading) for name in NAMES]
        result["loading_seconds"] = time.perf_counter() - started
        print(f"Loading both networks with their precision measured: {result['loading_seconds']:.1f} s", flush=True)
        for size in SIZES:
            path = make_video(Path(folder), size, options.seconds)
            for mode in modes:
                # 1080p takes several times as long.
                videos = options.videos if size == "360p" else max(8, options.videos // 2)
                alone = decoding_speed(path, videos, options.seconds, mode)
                whole = whole_speed(path, videos, options.seconds, mode, networks)
                whole["share_of_decoding"] = whole["video_seconds_per_second"] / alone
                result["decoding"][f"{size} {mode}"] = alone
                result["whole"][f"{size} {mode}"] = whole
                print(
                    f"  {size}, hwaccel {mode}: decoding alone {alone:.0f}, with both networks "
                    f"{whole['video_seconds_per_second']:.0f} seconds of video per second ("
                    f"{whole['share_of_decoding']:.2f}), {whole['video_hours_per_day']:,.0f} video-hours per day, "
                    f"device busy {whole['device_busy_percent']} %",
                    flush=True,
                )
                save()
        del networks
        for name in NAMES:
            result["networks"] += measure_network(name, compiled=not options.no_compile)
            save()
    fastest = {
        name: max(
            each["rows_per_second"]
            for each in result["networks"]
            if each["network"] == name and each["how"].startswith("reeldex")
        )
        for name in NAMES
    }
    both = 1 / sum(1 / (fastest[name] * EXTRACTORS[name].spec.seconds_per_row) for name in NAMES)
    result["networks_alone_video_seconds_per_second"] = both
    print(f"Networks alone: {both:,.0f} seconds of video per second")
    save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
