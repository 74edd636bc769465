"""The benchmarks run, check what they compare, and say so when a part fails; their figures are not tested."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import suite
from benchmarks.measuring import Figure, OtherPrograms, Spread, alternated, machine_facts, ratios, run_module
from benchmarks.parts.scaling import exponent
from benchmarks.sizes import SIZES

ROOT = Path(__file__).resolve().parents[2]
# Parts that load the networks or build indexes.
SLOW = ("published", "limit", "scaling", "commands", "query")


def measured(part: str, tmp_path: Path) -> list[Figure]:
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.suite", "--size", "tiny", "--part", part, "--out", str(out)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    figures = [Figure.from_json(each) for each in json.loads(out.read_text(encoding="utf-8"))]
    assert all(figure.what in answer.stdout for figure in figures)
    return figures


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=pytest.mark.slow if part in SLOW else ()) for part in suite.PARTS]
)
def test_each_part_checks_outputs_and_gives_figures(part: str, tmp_path: Path) -> None:
    figures = measured(part, tmp_path)
    assert figures
    for figure in figures:
        assert figure.checked, figure
        assert math.isfinite(figure.spread.median)
        assert figure.spread.least <= figure.spread.median <= figure.spread.most


def test_a_spread_is_median_least_and_most() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert ratios([2.0, 9.0], [1.0, 3.0]) == Spread(2.5, 2.0, 3.0)


@pytest.mark.parametrize(
    ("target", "bound", "met"), [(None, 0.0, None), ("at least", 2.0, True), ("at most", 1.9, False)]
)
def test_a_figure_says_whether_its_target_is_met_and_survives_json(
    target: str | None, bound: float, *, met: bool | None
) -> None:
    figure = Figure("part", "what", "s", Spread(2.0, 1.0, 3.0), "checked", target, bound)  # type: ignore[arg-type]
    assert figure.met is met
    content = json.loads(json.dumps(figure.to_json()))
    assert content["met"] is met
    assert Figure.from_json(content) == figure


def test_ways_are_measured_in_turn() -> None:
    order: list[str] = []

    def way(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = alternated({"a": lambda: way("a"), "b": lambda: way("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert found == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_exponents_are_those_of_a_power() -> None:
    assert exponent([1, 2, 4, 8], [3 * scale**1.5 for scale in (1, 2, 4, 8)]) == pytest.approx(1.5)
    assert exponent([1, 2, 4], [5.0, 5.0, 5.0]) == pytest.approx(0, abs=1e-9)


def test_a_command_that_fails_is_an_error_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match=r"failed with status 2:\n.*no file or folder 'nowhere at all'"):
        run_module("reeldex", "extract", "nowhere at all", "--store", "s", "--no-server")


def test_a_command_reports_its_time_and_memory() -> None:
    ran = run_module("reeldex", "--version")
    assert ran.out.startswith("reeldex ")
    assert 0 < ran.cpu_seconds < 60
    assert ran.peak_bytes > 1 << 20


@pytest.mark.slow
def test_a_part_that_fails_is_stated_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = suite.part_command

    def command(name: str, size: str, out: Path) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit(3)"] if name == "short" else whole(name, size, out)

    monkeypatch.setattr(suite, "part_command", command)
    found = suite.run_all(["short", "storage"], "tiny")
    assert found["failures"] == {"short": "exit status 3"}
    assert all(0 <= found["other_programs"][name] <= 1 for name in ("short", "storage"))
    assert {each["part"] for each in found["figures"]} == {"storage, against .npy files"}
    text = suite.table(found)
    assert "| **short** | failed: exit status 3 | | |" in text
    assert "random spans of 7.5 s" in text


def test_a_table_says_when_other_programs_disturbed_it() -> None:
    assert suite.disturbance({"short": 0.04, "query": 0.02}) == "Other programs used at most 4% of the CPU time."
    assert "(query 55%)" in suite.disturbance({"short": 0.04, "query": 0.55})


@pytest.mark.slow
def test_other_programs_are_told_from_ones_own_work() -> None:
    others = OtherPrograms()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            pass
        share = others.share()
    finally:
        busy.kill()
        busy.wait()
    assert share > 0.3 / (os.cpu_count() or 1), "a child process that is still running"
    alone = OtherPrograms()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert alone.share() < 1


def test_a_page_is_filled_from_earlier_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = Figure("a part", "a thing", "ms", Spread(2.0, 1.0, 3.0), "outputs").to_json()
    shares = {"other_programs": {"short": 0.01}, "seconds": 60.0, "failures": {}}
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    results.write_text(json.dumps({"machine": machine_facts(), "figures": [figure], **shares}), encoding="utf-8")
    page.write_text(f"{suite._BEGIN}\n{suite._END}\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["suite", "--table-of", str(results), "--docs", str(page)])
    assert suite.main() == 0
    assert "| a thing | 2 (1 to 3) ms |  | outputs |" in page.read_text(encoding="utf-8")


def test_a_page_gets_the_table_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{suite._BEGIN}\nold\n{suite._END}\nafter\n", encoding="utf-8")
    suite.fill_page(page, "new")
    suite.fill_page(page, "newer")
    assert page.read_text(encoding="utf-8") == f"before\n{suite._BEGIN}\nnewer\n{suite._END}\nafter\n"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="has no lines"):
        suite.fill_page(page, "new")


def test_the_page_of_results_has_a_place_for_the_table() -> None:
    content = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert content.count(suite._BEGIN) == content.count(suite._END) == 1


def test_the_facts_of_the_machine_are_json() -> None:
    facts = json.loads(json.dumps(machine_facts()))
    assert facts["cores"] >= 1
    assert facts["ffmpeg"]
    assert facts["openvino"] != "absent"


def test_every_size_has_what_a_fit_and_a_recall_need() -> None:
    for size in SIZES.values():
        assert len(size.scales) >= 2
        assert size.dims >= 128, "the intrinsic dimension of the synthetic moments"
        assert size.moments >= 10_000, "from there on, the index is approximate"
