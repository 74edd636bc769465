"""Tests wait for events and conditions, not for time to pass."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until

TESTS = Path(__file__).parent
REASON = "# time is tested: "


def test_waiting_returns_what_the_condition_returned() -> None:
    answers = iter([None, 0, "", "found"])
    assert wait_until(lambda: next(answers), 10) == "found"


def test_waiting_fails_at_the_deadline_and_says_why() -> None:
    with pytest.raises(AssertionError, match=r"not true after 0 s\nthe log"):
        wait_until(lambda: False, 0, details=lambda: "the log")


def test_waiting_fails_as_soon_as_the_process_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    with pytest.raises(AssertionError, match="ended with status 3"):
        wait_until(lambda: False, 600, process=process)


def sleeps(source: str) -> list[str]:
    """Return the lines of a source that sleep without saying that the passing of time is what they test."""
    lines = source.splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep", "asyncio.sleep")):
            continue
        gives_way = ast.unparse(node) == "asyncio.sleep(0)"  # to the event loop's other tasks
        if not gives_way and REASON not in lines[node.lineno - 1]:
            found.append(f"{node.lineno}: {lines[node.lineno - 1].strip()}")
    return found


def test_no_test_sleeps_to_wait_for_something() -> None:
    assert sleeps("import time\ntime.sleep(1)\n") == ["2: time.sleep(1)"]
    found = {path: sleeps(path.read_text(encoding="utf-8")) for path in sorted(TESTS.rglob("*.py"))}
    del found[TESTS / "waiting.py"]
    assert {str(path.relative_to(TESTS)): lines for path, lines in found.items() if lines} == {}
