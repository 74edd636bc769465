"""Flags of the command line for keys of the configuration, generated from the options models.

A flag's help is the key's description. Given values override the configuration, which validates them like those of its
file, with the dotted path in the message.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from cyclopts import Group, Parameter
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reeldex.errors import UsageError
from reeldex.flows.config.keys import field_at
from reeldex.flows.config.monitoring import MonitoringConfig
from reeldex.flows.config.notify import REVEALED
from reeldex.flows.config.pipeline import PipelineConfig, load_config, parse_config
from reeldex.remote_urls import is_url, redacted
from reeldex.storage.location import names_store

_METAVARS = {int: "N", float: "X", Path: "PATH"}
# Flags that are given once for each value, which may contain commas.
_REPEATABLE = frozenset({"extract.include", "extract.exclude"})


@dataclass(frozen=True)
class Setting:
    """A flag for a key of the configuration; `*` in the key stands for the data set of the command."""

    key: str
    flag: str
    group: str

    @property
    def name(self) -> str:
        """The name of the parameter that holds its value."""
        return self.key.replace(".", "__").replace("*", "any")

    def parameter(self) -> inspect.Parameter:
        """Return the command's parameter for this flag; its value is None if the flag is not given."""
        found = _field(self.key)
        kind, choices = _kind(found.annotation)
        annotation: Any = bool if kind is bool else Literal[choices] if choices and "*" not in self.key else str
        if self.key in _REPEATABLE:
            annotation = tuple[str, ...]
        about = Parameter(
            name=self.flag,
            group=Group(self.group),
            help=found.description,
            show_default=_shown(found.default),
            metavar="PATTERN" if self.key in _REPEATABLE else _metavar(kind, choices),
            negative=f"--no-{self.flag.removeprefix('--')}" if kind is bool else (),
        )
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[annotation | None, about],
        )

    def value(self, given: Any) -> Any:  # noqa: ANN401 - text, a choice or a boolean
        """Return a given value in the form that the configuration accepts.

        Raises UsageError for an empty path, and for a URL in the place of a path that is not a store's.
        """
        option = _field(self.key)
        kind, _ = _kind(option.annotation)
        if kind is Path and not given:
            # As of an unset shell variable: it would mean the current folder.
            raise UsageError(f"{self.flag}: the path is empty.")
        if kind is Path and is_url(given) and not names_store(option):
            raise UsageError(f"{self.flag}: {redacted(given)} is a URL; give a path of this machine.")
        if self.key in _REPEATABLE:
            if not all(part.strip() for part in given):
                raise UsageError(f"{self.flag}: the pattern is empty.")
            return list(given)
        if kind is tuple:
            return [part.strip() for part in given.split(",") if part.strip()]
        return given


def setting(key: str, group: str, flag: str | None = None) -> Setting:
    """Return the flag of a key, by default named like the key."""
    return Setting(key, flag or f"--{key.rpartition('.')[2].replace('_', '-')}", group)


def settings_of(section: str, model: type[BaseModel], group: str, **flags: str) -> tuple[Setting, ...]:
    """Return a flag for every key of a section except its subsections; `flags` gives other names for some keys."""
    return tuple(
        setting(f"{section}.{name}", group, flags.get(name))
        for name, found in model.model_fields.items()
        if not (isinstance(found.annotation, type) and issubclass(found.annotation, BaseModel))
    )


@dataclass(frozen=True)
class Given:
    """The configuration options of a command line: the file, `--set`, and flags by their keys."""

    file: Path | None = None
    assignments: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    def of(self, prefix: str) -> dict[str, Any]:
        """Return the values of the flags of a section, by the last part of their keys."""
        return {key.rpartition(".")[2]: value for key, value in self.values.items() if key.rpartition(".")[0] == prefix}

    def load(self) -> PipelineConfig:
        """Return the configuration of the file alone. Raises UsageError."""
        return load_config(self.file)

    def configuration(self, base: PipelineConfig | None = None) -> PipelineConfig:
        """Return the configuration (of the file, or `base`), overridden by --set and then by the flags.

        Raises UsageError.
        """
        content = (base or self.load()).model_dump(mode="json", context=REVEALED)
        self.overlay(content)
        return parse_config(content, "command line")

    def monitoring(self) -> MonitoringConfig:
        """Return the section `monitoring` of the file, overridden by --set and the flags. Raises UsageError.

        A flag or --set of another section that is not valid is left to the command, whose message may say more.
        """
        content = self.load().model_dump(mode="json")
        own = tuple(each for each in self.assignments if each.startswith("monitoring."))
        values = {key: value for key, value in self.values.items() if key.startswith("monitoring.")}
        Given(None, own, values).overlay(content)
        return parse_config(content, "command line").monitoring

    def overlay(self, content: dict[str, Any]) -> None:
        """Override the content of a configuration by --set and then by the flags. Raises UsageError."""
        for name, text in pairs(self.assignments, "--set KEY=VALUE").items():
            _assign(content, name, text)
        for key, value in self.values.items():
            if "*" not in key:
                put(content, key, value)


def put(content: dict[str, Any], key: str, value: Any) -> None:  # noqa: ANN401 - each key has its own
    """Put a value at a dotted path."""
    *sections, last = key.split(".")
    for name in sections:
        content = content[name]
    content[last] = value


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Return NAME=VALUE texts as a dict. Raises UsageError for another form; `option` describes the expected one."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{text!r} does not have the form {option}.")
        found[name] = value
    return found


def _assign(content: dict[str, Any], dotted: str, text: str) -> None:
    """Put a value, written as in YAML, at a dotted path. The configuration validates both later."""
    *sections, key = dotted.split(".")
    section = content
    for name in sections:
        inner = section.get(name)
        if inner is None:
            inner = section[name] = {}
        if not isinstance(inner, dict):
            raise UsageError(f"--set {dotted}: {name} is not a section of the configuration.")
        section = inner
    if isinstance(section.get(key), dict):
        raise UsageError(
            f"--set {dotted}={text}: {dotted} is a section. Set its keys one by one: --set {dotted}.KEY=VALUE."
        )
    try:
        section[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {dotted}={text}: the value is not valid YAML: {error}") from error


def _field(key: str) -> FieldInfo:
    """Return the field at a dotted path; `*` matches the first section that has the rest of the path."""
    return field_at(PipelineConfig, key)


def _kind(annotation: Any) -> tuple[type, tuple[str, ...]]:  # noqa: ANN401 - a type expression
    """Return the type of a key without None, and its choices."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _kind(next(each for each in get_args(annotation) if each is not type(None)))
    if get_origin(annotation) is Literal:
        return str, get_args(annotation)
    if get_origin(annotation) is tuple:
        return tuple, ()
    if issubclass(annotation, Enum):
        return str, tuple(each.value for each in annotation)
    return annotation, ()


def _metavar(kind: type, choices: tuple[str, ...]) -> str | None:
    if choices or kind is bool:
        return None
    return "A,B" if kind is tuple else _METAVARS.get(kind)


def _shown(default: object) -> str | bool:
    """Return a default as it is typed; a null or empty one is not shown."""
    if default is None or default == ():
        return False
    if isinstance(default, tuple):
        return ",".join(str(each) for each in default)
    return str(default).lower() if isinstance(default, bool) else str(default)
