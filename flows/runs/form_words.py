"""Advice in the words of the forms: messages name commands and flags, which a user of the UI does not have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from pydantic import BaseModel

from reeldex.flows.config.pipeline import PipelineConfig

# Command -> the deployment that does the same.
_DEPLOYMENTS: Mapping[str, str] = {
    "extract": "extract",
    "rerun": "rerun-failed",
    "verify": "verify",
    "train": "train",
    "evaluate": "evaluate",
    "index": "index",
    "run": "pipeline",
}
# Flags of other names than their keys -> the key.
_KEYS: Mapping[str, str] = {
    "word-vectors": "words.file",
    "train-word-vectors": "words.train_own",
    "ray-address": "execution.address",
}
# Flags that are no key of the configuration -> the field of the form.
_FIELDS: Mapping[str, str] = {
    "store": "Store",
    "checkpoint": "Checkpoint",
    "failed-videos": "Retry failed videos",
    "rebuild": "Replace another index",
    "resume": "Continue",
    "save-ranking": "Ranking",
}
# The sections whose keys have flags of their names, the one that is meant first.
_SECTIONS = ("extract", "decode", "compute", "execution", "train", "evaluate", "index", "words", "fetch")

_COMMAND = re.compile(r"`reeldex (\w+)([^`\n]*)`")
_FLAG = re.compile(r"(?<![\w/.-])--([a-z][a-z-]*[a-z])(?!\w|\.\w)(?: (?!(?:or|and|to|of|in|is|if|with)\b)(?=['*\w]))?")


def in_form_words(text: str) -> str:
    """Return a message with fields of forms in the place of flags, and deployments in the place of commands.

    A command without a deployment stays as it is, and so does a flag without a field.
    """
    return _FLAG.sub(_field, _COMMAND.sub(_deployment, text))


def _deployment(match: re.Match[str]) -> str:
    name = _DEPLOYMENTS.get(match[1])
    if name is None:
        return match[0]
    fields = [f'"{_FIELDS[flag]}"' for flag in re.findall(r"--([a-z-]+)", match[2]) if flag in _FIELDS]
    more = [field for field in fields if field != '"Store"']
    return f"the deployment `{name}`" + (f" with {' and '.join(more)}" if more else "")


def _field(match: re.Match[str]) -> str:
    flag = match[1]
    key, title = ("", _FIELDS[flag]) if flag in _FIELDS else _options().get(flag, ("", ""))
    if not title:
        return match[0]
    key_is_said = not key or match.string[: match.start()].endswith(f"{key} (")
    value = ": " if match[0].endswith(" ") else ""
    return f'"{title}"{"" if key_is_said else f" ({key})"}{value}'


@cache
def _options() -> Mapping[str, tuple[str, str]]:
    """Return the key and the title of each option by its flag, without the dashes."""
    titles = {
        key: title for section in _SECTIONS for key, title in _titles(getattr(PipelineConfig(), section), section)
    }
    found: dict[str, tuple[str, str]] = {}
    for key, title in titles.items():
        found.setdefault(key.rpartition(".")[2].replace("_", "-"), (key, title))
    return {**found, **{flag: (key, titles[key]) for flag, key in _KEYS.items()}}


def _titles(options: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in type(options).model_fields.items():
        value = getattr(options, name)
        if isinstance(value, BaseModel):
            yield from _titles(value, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}", field.title or name.replace("_", " ").capitalize()
