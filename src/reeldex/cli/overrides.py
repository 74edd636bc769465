"""Options of the command line put over the configuration, which then checks them as it checks its file."""

from __future__ import annotations

from typing import Any

import yaml

from reeldex.cli.answers import Arguments, pairs
from reeldex.errors import UsageError


def put_settings(content: dict[str, Any], arguments: Arguments) -> None:
    """Put every --set KEY=VALUE in its place."""
    for name, value in pairs(arguments.settings, "--set KEY=VALUE").items():
        _put(content, name, value)


def put_given(section: dict[str, Any], arguments: Arguments, names: tuple[str, ...]) -> None:
    """Put the options that were given into a section whose keys are called as they are."""
    section.update({name: value for name in names if (value := getattr(arguments, name)) is not None})


def put_words(section: dict[str, Any], arguments: Arguments) -> None:
    """Put the options on word vectors into the section `words`."""
    given = {"file": arguments.word_vectors, "format": arguments.word_format, "cache_folder": arguments.word_cache}
    section.update({name: value for name, value in given.items() if value is not None})
    if getattr(arguments, "train_word_vectors", False):
        section["train_own"] = True
    if getattr(arguments, "word_dim", None) is not None:
        section["training"]["dim"] = arguments.word_dim


def _put(content: dict[str, Any], dotted: str, text: str) -> None:
    """Put a value, written as in YAML, at a dotted path. What is wrong with either, the configuration will say."""
    *sections, key = dotted.split(".")
    section = content
    for name in sections:
        inner = section.get(name)
        if inner is None:
            inner = section[name] = {}
        if not isinstance(inner, dict):
            raise UsageError(f"--set {dotted}: {name} is no section of the configuration.")
        section = inner
    if isinstance(section.get(key), dict):
        raise UsageError(
            f"--set {dotted}={text}: {dotted} is a section. Set its keys one by one: --set {dotted}.KEY=VALUE."
        )
    try:
        section[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {dotted}={text}: the value is not valid YAML: {error}") from error
