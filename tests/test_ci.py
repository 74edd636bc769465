"""CI calls the commands that a person types, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[1]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def commands(job: str) -> list[str]:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    return [step["run"] for step in workflow["jobs"][job]["steps"] if "run" in step]


def test_ci_runs_what_a_person_runs() -> None:
    made = [command for command in commands("checks") if command.startswith("make ")]
    assert made == ["make run", "make lint", "make test", "make docs", "make test-decoding FFMPEG=/usr/bin"]


def test_every_make_command_of_ci_exists() -> None:
    called = {
        *(command for job in ("checks", "pythons", "coverage") for command in commands(job)),
        *re.findall(r"^make .*$", (PROJECT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE),
    }
    targets = {command.split()[1] for command in called if command.startswith("make ")}
    assert len(targets) >= 6
    assert targets <= TARGETS
