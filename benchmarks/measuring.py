"""What all benchmarks share: spreads, figures, the facts of the machine, and commands with their time and memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reeldex.extractors import ffmpeg

_PACKAGES = ("reeldex", "numpy", "torch", "openvino", "h5py", "faiss-cpu")


@dataclass(frozen=True)
class Spread:
    """Median, least and most of several measurements."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of values."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.least:.3g} to {self.most:.3g})"


@dataclass(frozen=True)
class Figure:
    """One figure of the table: what it is of, in which unit; `target` is at least or at most `bound`, if there is one.

    `checked` says which outputs were compared before.
    """

    part: str
    what: str
    unit: str
    spread: Spread
    checked: str = ""
    target: Literal["at least", "at most"] | None = None
    bound: float = 0.0

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        return self.spread.median >= self.bound if self.target == "at least" else self.spread.median <= self.bound

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "met": self.met}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Figure:
        """Undo `to_json`."""
        fields = {name: value for name, value in content.items() if name != "met"}
        return cls(**{**fields, "spread": Spread(**fields["spread"])})


@dataclass(frozen=True)
class Ran:
    """A command that has ended: wall-clock and CPU seconds, the most memory of one of its processes, and its output."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    out: str


def run_module(module: str, *arguments: object) -> Ran:
    """Run a Python module as a command, its child processes included. Raises RuntimeError when it fails."""
    started = time.perf_counter()
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = _outputs(process)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with status {process.returncode}:\n{err[-4000:]}")
    kibibyte = 1 if sys.platform == "darwin" else 1024
    return Ran(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * kibibyte, out)


def _outputs(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Read both outputs to their ends, without waiting for the process: its use of resources is read afterwards."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as stdout, process.stderr as stderr, ThreadPoolExecutor(1) as pool:
        errors = pool.submit(stderr.read)
        out = stdout.read()
        return out, errors.result()


def alternated(ways: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Measure several ways in turn, `runs` times each, so that a slower machine slows them all."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            found[name].append(way())
    return found


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Return the spread of ratios, pair by pair."""
    return Spread.of([a / b for a, b in zip(numerators, denominators, strict=True)])


def seconds(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its child processes that have ended, so far."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class OtherPrograms:
    """Measures which share of the CPU time of this machine other programs use, from its creation on."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.perf_counter(), _busy_seconds(), cpu_seconds()

    def share(self) -> float:
        """Return the share, from 0 to 1; child processes that are still running count as other programs."""
        available = (time.perf_counter() - self._began) * (os.cpu_count() or 1)
        others = (_busy_seconds() - self._busy) - (cpu_seconds() - self._own)
        return min(1.0, max(0.0, others / available)) if available else 0.0


def _busy_seconds() -> float:
    """Return the CPU time that all programs have used since the machine started; 0 if the system does not tell."""
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
    total = next((line.split()[1:9] for line in _lines("/proc/stat") if line.startswith("cpu ")), [])
    return sum(int(each) for at, each in enumerate(total) if at not in (3, 4)) / os.sysconf("SC_CLK_TCK")


def machine_facts() -> dict[str, Any]:
    """Return what figures depend on: processor, cores, memory, versions, load."""
    cpu = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "").split()
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "processor": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "vector_extensions": [flag for flag in flags if flag.startswith(("avx2", "avx512f", "avx512_vnni", "amx"))],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ffmpeg": ffmpeg.version(),
        **versions,
        "load_before": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
