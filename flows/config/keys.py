"""Keys of the configuration by their dotted paths, such as `train.model.embed_dim`."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted paths of all sections and keys of a model; items of lists have none."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for section in _sections(field.annotation):
            keys += dotted_keys(section, f"{prefix}{name}.")
    return keys


def fields_at(model: type[BaseModel], path: list[str]) -> Iterator[FieldInfo]:
    """Yield the field at a path; a `*` in it stands for every section that has the rest of the path."""
    name, *rest = path
    for each in model.model_fields if name == "*" else [name]:
        found = model.model_fields.get(each)
        if found is None:
            continue
        if not rest:
            yield found
        for section in _sections(found.annotation) if rest else ():
            yield from fields_at(section, rest)


def field_at(model: type[BaseModel], key: str) -> FieldInfo:
    """Return the field at a dotted path, the first one for a `*`. Raises LookupError."""
    found = next(fields_at(model, key.split(".")), None)
    if found is None:
        raise LookupError(f"the configuration has no key {key}")
    return found


def _sections(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - a type expression
    """Return the section that an annotation stands for, if any; one that may be absent is a union with None."""
    union = get_origin(annotation) in (Union, types.UnionType)
    kinds = get_args(annotation) if union else (annotation,)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def nearest(unknown: str, known: Collection[str]) -> str:
    """Return a question for an unknown dotted path: the keys of the same name elsewhere, or the nearest; or nothing."""
    own = unknown.rpartition(".")[2]
    namesakes = [key for key in known if key.rpartition(".")[2] == own]
    near = namesakes or difflib.get_close_matches(unknown, known, n=1, cutoff=0.5) or _near_by_name(own, known)
    return f"did you mean {' or '.join(repr(key) for key in near)}?" if near else ""


def _near_by_name(name: str, known: Collection[str]) -> list[str]:
    names = {key.rpartition(".")[2]: key for key in reversed(list(known))}
    return [names[each] for each in difflib.get_close_matches(name, names, n=1, cutoff=0.7)]
