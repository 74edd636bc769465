"""One table of figures, measured in one run: `make bench`, or in less than 3 minutes `make bench-quick`.

    python -m benchmarks.suite [--size full|quick|tiny] [--only PART ...] [--out FILE] [--docs PAGE] [--table-of FILE]

Each part runs in a process of its own, checks outputs before it measures, and prints its figures as it goes; a part
that fails is stated, and the others go on. The figures, medians with the least and the most, and the facts of the
machine are written as JSON to FILE, and as a table into PAGE. Exit status: 0 all measured, 1 a part failed; targets
that are missed are marked.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measuring import Figure, OtherPrograms, machine_facts
from benchmarks.sizes import SIZES

PARTS = {
    "published": "published_ratio",
    "limit": "limit",
    "short": "short_videos",
    "storage": "storage_files",
    "scaling": "scaling",
    "commands": "start_up",
    "query": "query_latency",
}
_MOST_SECONDS = {"full": 900, "quick": 240, "tiny": 600}
_QUIET_SHARE = 0.1
_BEGIN, _END = "<!-- table of make bench -->", "<!-- end of table -->"


def run_part(name: str, size: str, out: Path) -> None:
    """Measure one part in this process, and write its figures; each is printed as soon as it is known."""
    module = importlib.import_module(f"benchmarks.parts.{PARTS[name]}")
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for figure in module.measure(SIZES[size], Path(folder)):
            figures.append(figure.to_json())
            out.write_text(json.dumps(figures), encoding="utf-8")
            print(f"  {line(figure)}", flush=True)


def line(figure: Figure) -> str:
    """Return a figure as a line of text."""
    goal = "" if figure.target is None else f"; target {figure.target} {figure.bound:g}: {_verdict(figure)}"
    return f"{figure.part}: {figure.what}: {figure.spread} {figure.unit}{goal}"


def _verdict(figure: Figure) -> str:
    return "met" if figure.met else "MISSED"


def part_command(name: str, size: str, out: Path) -> list[str]:
    """Return the command that measures one part."""
    return [sys.executable, "-m", "benchmarks.suite", "--size", size, "--part", name, "--out", str(out)]


def run_all(names: list[str], size: str) -> dict[str, Any]:
    """Run parts one after the other, each in a process; return figures, failures, seconds and facts of the machine."""
    machine, started = machine_facts(), time.perf_counter()
    figures: list[dict[str, Any]] = []
    failures, part_seconds, others = {}, {}, {}
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}, after {time.perf_counter() - started:.0f} s", flush=True)
        begun, other_programs = time.perf_counter(), OtherPrograms()
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "figures.json"
            try:
                status = subprocess.run(
                    part_command(name, size, out), check=False, timeout=_MOST_SECONDS[size]
                ).returncode
                why = f"exit status {status}" if status else ""
            except subprocess.TimeoutExpired:
                why = f"not done after {_MOST_SECONDS[size]} s"
            figures += json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
        part_seconds[name] = round(time.perf_counter() - begun, 1)
        others[name] = round(other_programs.share(), 3)
        if why:
            failures[name] = why
            print(f"  {name} FAILED: {why}", flush=True)
    return {
        "machine": machine,
        "size": size,
        "seconds": round(time.perf_counter() - started, 1),
        "seconds_of_parts": part_seconds,
        "other_programs": others,
        "failures": failures,
        "figures": figures,
    }


def table(found: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| what | figure (least to most) | target | checked before |", "| --- | --- | --- | --- |"]
    part = ""
    for content in found["figures"]:
        figure = Figure.from_json(content)
        if figure.part != part:
            part = figure.part
            lines.append(f"| **{part}** | | | |")
        goal = "" if figure.target is None else f"{figure.target} {figure.bound:g}, {_verdict(figure)}"
        lines.append(f"| {figure.what} | {figure.spread} {figure.unit} | {goal} | {figure.checked} |")
    lines += [f"| **{name}** | failed: {why} | | |" for name, why in found["failures"].items()]
    machine = found["machine"]
    about = (
        f"Measured on {machine['date']} on {machine['cores']} cores ({machine['processor']}, load "
        f"{machine['load_before']} before), ffmpeg {machine['ffmpeg']}, OpenVINO {machine['openvino']}, "
        f"PyTorch {machine['torch']}, in {found['seconds'] / 60:.0f} min. {disturbance(found['other_programs'])}"
    )
    return "\n".join([about, "", *lines])


def disturbance(others: Mapping[str, float]) -> str:
    """Return what other programs used of the CPU while each part was measured, in words."""
    disturbed = {name: share for name, share in others.items() if share > _QUIET_SHARE}
    if not disturbed:
        return f"Other programs used at most {max(others.values(), default=0.0):.0%} of the CPU time."
    listed = ", ".join(f"{name} {share:.0%}" for name, share in disturbed.items())
    return (
        f"**Disturbed**: other programs used a large share of the CPU time ({listed}), which slows down programs that "
        "wait for all their threads, such as eager PyTorch, more than others. Measure again on a quiet machine."
    )


def fill_page(page: Path, text: str) -> None:
    """Replace the table of a page. Raises ValueError if it has no place for one."""
    content = page.read_text(encoding="utf-8")
    if _BEGIN not in content or _END not in content:
        raise ValueError(f"{page} has no lines {_BEGIN} and {_END}.")
    before, _, rest = content.partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{after}", encoding="utf-8")


def main() -> int:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--part", choices=PARTS, help="measure this one in this process")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON")
    parser.add_argument("--docs", type=Path, metavar="PAGE", help="page to fill in")
    parser.add_argument("--table-of", type=Path, metavar="FILE", help="measure nothing; take the figures of this JSON")
    arguments = parser.parse_args()
    if arguments.part:
        run_part(arguments.part, arguments.size, arguments.out)
        return 0
    if arguments.table_of:
        found = json.loads(arguments.table_of.read_text(encoding="utf-8"))
    else:
        found = run_all(arguments.only, arguments.size)
    text = table(found)
    print(f"\n{text}")
    if arguments.out and not arguments.table_of:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.docs:
        fill_page(arguments.docs, text)
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
