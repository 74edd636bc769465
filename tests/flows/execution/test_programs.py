"""Where the output of started programs goes, and how they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_START = """
import sys
from reeldex.flows.execution.process_group import start_program

if __name__ == "__main__":
    started = start_program("this", [], sys.argv[1] or None)
    started.join(60)
    sys.exit(started.exitcode)
"""

_LEAVE = """
import os, sys

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self, write=os.write):
        write(2, b"destroyed")

sys.left = Cycle()
os.write(2, b"left")
"""


@pytest.mark.parametrize("log", ["log", ""])
def test_output_is_appended_to_a_file_or_left_on_standard_error(tmp_path: Path, log: str) -> None:
    (tmp_path / "start.py").write_text(_START, encoding="utf-8")
    (tmp_path / "log").write_text("before\n", encoding="utf-8")
    answer = subprocess.run([sys.executable, "start.py", log], capture_output=True, text=True, check=True, cwd=tmp_path)
    found = (tmp_path / "log").read_text(encoding="utf-8")
    assert answer.stdout == ""
    assert found.startswith("before\n")
    assert ("The Zen of Python" in found, "The Zen of Python" in answer.stderr) == (bool(log), not log)


def test_a_program_exits_without_garbage_collection(tmp_path: Path) -> None:
    (tmp_path / "start.py").write_text(_START.replace('"this"', '"leave"'), encoding="utf-8")
    (tmp_path / "leave.py").write_text(_LEAVE, encoding="utf-8")
    answer = subprocess.run([sys.executable, "start.py", ""], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answer.stderr == "left"
