"""The configuration as a commented file: `pipeline.yaml` and what `reeldex config init` writes."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reeldex.flows.config.pipeline import PipelineConfig

_WIDTH = 118


def commented(config: PipelineConfig) -> str:
    """Return a configuration as YAML, each key below its description; `load_config` reads the same values from it."""
    lines = [*_comment(inspect.getdoc(PipelineConfig) or "", ""), "", *_section(config, "", set())]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _section(section: BaseModel, indent: str, described: set[str]) -> Iterator[str]:
    """Yield the lines of a section; descriptions in `described` are not repeated."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel) and _is_section(field):
            if not indent:
                yield ""
                described = set()
            yield from _comment(_about(value), indent)
            yield f"{indent}{name}:"
            yield from _section(value, f"{indent}  ", described)
            continue
        about = field.description or ""
        if not indent and isinstance(value, tuple):
            yield ""
        if f"{name}: {about}" not in described:
            described.add(f"{name}: {about}")
            yield from _comment(about, indent)
        yield f"{indent}{name}: {_plain(value)}"


def _is_section(field: FieldInfo) -> bool:
    """Whether a key always holds a section; a section that may be null is written on one line."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _about(section: BaseModel) -> str:
    """Return the first paragraph of a section's description."""
    return (inspect.getdoc(type(section)) or "").partition("\n\n")[0]


def _comment(text: str, indent: str) -> list[str]:
    """Return text as comment lines; paragraphs are wrapped, indented lines stay as they are."""
    lines: list[str] = []
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line and not line.startswith(" "):
            paragraph.append(line)
            continue
        if paragraph:
            wrapped = textwrap.wrap(" ".join(paragraph), _WIDTH - len(indent), break_on_hyphens=False)
            lines += [f"{indent}# {each}" for each in wrapped]
            paragraph = []
        if line:
            lines.append(f"{indent}# {line}")
    return lines


def _plain(value: object) -> str:
    """Return a value as one line of YAML."""
    text: str = yaml.safe_dump(_jsonable(value), default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _jsonable(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_jsonable(each) for each in value]
    if isinstance(value, dict):
        return {key: _jsonable(each) for key, each in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
