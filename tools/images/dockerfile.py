"""The instructions of a Dockerfile, and the files of its build context."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_KNOWN = frozenset(
    {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "HEALTHCHECK", "RUN", "USER", "VOLUME", "WORKDIR"}
)


class DockerfileError(Exception):
    """A Dockerfile, or an instruction of it, that cannot be replayed."""


@dataclass(frozen=True)
class Instruction:
    """One instruction, such as COPY, and its text."""

    name: str
    text: str


def parse(dockerfile: str) -> list[Instruction]:
    """Return the instructions. Raises DockerfileError for one that is not supported here."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    found = []
    for statement in re.sub(r"\\[ \t]*\n", " ", "\n".join(lines)).splitlines():
        if not statement.strip():
            continue
        name, _, text = statement.strip().partition(" ")
        if name.upper() not in _KNOWN:
            raise DockerfileError(f"{name} is not supported here: {statement.strip()}")
        found.append(Instruction(name.upper(), text.strip()))
    return found


def stages_of(instructions: Sequence[Instruction], target: str) -> set[str]:
    """Return the names of the stages that a target is built from, with its own. Raises DockerfileError."""
    bases: dict[str, set[str]] = {}
    stage = ""
    for each in instructions:
        if each.name == "FROM":
            base, stage = from_of(each)
            bases[stage] = {base}
        else:
            bases.setdefault(stage, set()).update(re.findall(r"\bfrom=([\w.-]+)", each.text))
    if target not in bases:
        raise DockerfileError(f"there is no target {target!r}; targets are {', '.join(filter(None, bases))}")
    found, left = set[str](), {target}
    while left:
        name = left.pop()
        found.add(name)
        left |= (bases[name] & bases.keys()) - found
    return found


def from_of(instruction: Instruction) -> tuple[str, str]:
    """Return what a stage begins from, and its name. Raises DockerfileError for a stage without a name."""
    match = re.fullmatch(r"(\S+)\s+[aA][sS]\s+(\S+)", instruction.text)
    if match is None:
        raise DockerfileError(f"FROM {instruction.text}: each stage needs a name, as in FROM debian AS base")
    return match[1], match[2]


def expand(text: str, values: dict[str, str]) -> str:
    """Return a text with the values of its `$NAME` and `${NAME}`; one that is not known is empty."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: values.get(match[1] or match[2], ""), text)


def in_context(name: str, dockerignore: str) -> bool:
    """Whether a file is part of the build context, by a .dockerignore that excludes all but some names.

    Supported are `*`, `!NAME` for a file or folder, and `**/NAME` for what is excluded again.
    """
    included = False
    for line in dockerignore.splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        if rule == "*":
            included = False
        elif rule.startswith("!"):
            included = included or name == rule[1:] or name.startswith(f"{rule[1:]}/")
        elif rule.startswith("**/"):
            pattern = re.escape(rule[3:]).replace(r"\*", "[^/]*")
            included = included and not any(re.fullmatch(pattern, part) for part in name.split("/"))
        else:
            raise DockerfileError(f".dockerignore: {rule!r} is not supported here")
    return included


def copied_to(name: str, sources: Sequence[str], target: str) -> str | None:
    """Return where COPY puts a file of the context; None if none of `sources` names it.

    A file keeps its name; of a folder, the content is copied, with its paths.
    """
    folder = target if target.endswith("/") else f"{target}/"
    for source in sources:
        plain = source.rstrip("/")
        if plain == ".":
            return folder + name
        if name == plain:
            return folder + name.rpartition("/")[2] if target.endswith("/") or len(sources) > 1 else target
        if name.startswith(f"{plain}/"):
            return folder + name.removeprefix(f"{plain}/")
    return None
