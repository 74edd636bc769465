"""The forms of the flows: which keys of `pipeline.yaml` are fields, and the mapping `settings` for all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from reeldex.errors import UsageError
from reeldex.flows.config.keys import dotted_keys, field_at, nearest
from reeldex.flows.config.pipeline import PipelineConfig, faults_in_words

SETTINGS = "settings"
"""The parameter of a flow that holds all keys without a field of their own."""

_NONE_OF_A_RUN = frozenset({"version", "page", "server", "schedules", "notify"})


@dataclass(frozen=True)
class KeyField:
    """A field of a form that stands for a key of `pipeline.yaml`, and for further keys with the same meaning.

    `name` is that of the flow's parameter. A key that may be null is a text, which is empty for null. `about` replaces
    the description of the key.
    """

    key: str
    name: str
    also: tuple[str, ...] = ()
    about: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that the field sets."""
        return (self.key, *self.also)

    @property
    def option(self) -> FieldInfo:
        """The key's option: type, bounds, title, description and default."""
        return field_at(PipelineConfig, self.key)

    @property
    def description(self) -> str:
        """What the form says of the field."""
        return self.about or self.option.description or ""

    @property
    def default(self) -> Any:  # noqa: ANN401 - each key has its own
        """The default as the form shows it, a JSON value."""
        return self.shown(self.option.default)

    def shown(self, value: Any) -> Any:  # noqa: ANN401
        """Return a value of the configuration as the form shows it, a JSON value."""
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, (tuple, list)):
            return [self.shown(each) for each in value]
        if value is None:
            return ""
        return value if isinstance(value, (bool, int, float)) else str(value)

    def configured(self, value: Any) -> Any:  # noqa: ANN401
        """Return a value of the form as the configuration takes it."""
        return None if value == "" and type(None) in get_args(self.option.annotation) else value


def key_field(key: str, name: str | None = None, *also: str, about: str = "") -> KeyField:
    """Return the field of a key, by default named like the key; `also` are further keys that it sets."""
    return KeyField(key, name or key.rpartition(".")[2], also, about)


@dataclass(frozen=True)
class Form:
    """The part of the configuration that a flow uses: `sections`, and the keys of them that are `fields`.

    `former` are parameters of earlier releases, each of which held a whole section. `unused` are keys of the sections
    that the flow sets itself.
    """

    flow: str
    sections: tuple[str, ...]
    fields: tuple[KeyField, ...]
    former: Mapping[str, str]
    unused: tuple[str, ...] = ()

    def parameters(self, config: PipelineConfig) -> dict[str, Any]:
        """Return the parameters of a run with this configuration: the fields, and in `settings` what differs else."""
        if not self.sections:
            return {}
        parameters: dict[str, Any] = {}
        content = config.model_dump(mode="json", include=set(self.sections), exclude_defaults=True)
        for field in self.fields:
            values = [field.shown(_value(config, key)) for key in field.keys]
            common = all(value == values[0] for value in values)
            parameters[field.name] = values[0] if common else field.default
            for key in field.keys if common else ():
                _remove(content, key.split("."))
        for key in self.unused:
            _remove(content, key.split("."))
        return {**parameters, SETTINGS: content}

    def configuration(self, values: Mapping[str, Any], settings: Mapping[str, Any]) -> PipelineConfig:
        """Return the configuration of a run: `values` of the fields by their names, over `settings`.

        Raises UsageError for an unknown key, for one that the flow does not use, for a value out of bounds, and for a
        key that `settings` and a field set differently.
        """
        content = nested(settings)
        self._require_own_sections(content)
        for field in self.fields:
            value = field.shown(values.get(field.name, field.default))
            for key in field.keys:
                self._put(content, field, key, value)
        try:
            return PipelineConfig.model_validate(content)
        except ValidationError as error:
            keys = tuple(f"{key}." for field in self.fields for key in field.keys)
            from_fields = all(".".join([*map(str, fault["loc"]), ""]).startswith(keys) for fault in error.errors())
            origin = "form" if from_fields else SETTINGS
            raise UsageError(f"{origin}: {faults_in_words(error)}") from error

    def current(self, parameters: Mapping[str, Any], own: frozenset[str]) -> dict[str, Any]:
        """Return the parameters of a run under their present names; `own` are those besides the fields.

        Sections that an earlier release had as parameters become settings. Raises UsageError for unknown parameters.
        """
        known = own | {field.name for field in self.fields} | ({SETTINGS} if self.sections else set())
        kept = {name: value for name, value in parameters.items() if name in known}
        sections = {}
        for name, value in parameters.items():
            section = self.former.get(name)
            if section is not None and isinstance(value, Mapping):
                sections[section] = value
            elif name not in kept:
                self._refuse(name, known)
        if not sections:
            return kept
        content = nested(kept.get(SETTINGS, {}))
        for section, value in sections.items():
            # These sections were complete; settings beside them are the deployment's defaults.
            used = {key: each for key, each in value.items() if f"{section}.{key}" not in self.unused}
            content[section] = {**content.get(section, {}), **used}
        return {**kept, SETTINGS: content}

    def _put(self, content: dict[str, Any], field: KeyField, key: str, value: Any) -> None:  # noqa: ANN401
        """Put a field's value at a key, unless the field has its default. Raises UsageError if settings differ."""
        path = key.split(".")
        present, setting = _find(content, path)
        if value == field.default:
            return
        if present and field.shown(setting if not isinstance(setting, list) else tuple(setting)) != value:
            raise UsageError(
                f"{SETTINGS}: {key} is {setting!r} there, but the field {field.option.title!r} is {value!r}. Set it in "
                "one place, such as the field."
            )
        if not present:
            _put_once(content, tuple(path), field.configured(value))

    def _require_own_sections(self, content: Mapping[str, Any]) -> None:
        for name in content:
            if name in self.sections:
                continue
            if name in PipelineConfig.model_fields:
                why = "is no setting of a run" if name in _NONE_OF_A_RUN else f"is not used by {self.flow}"
                raise UsageError(f"{SETTINGS}: {name} {why}. Sections that it uses: {', '.join(self.sections)}.")
            raise UsageError(f"{SETTINGS}: {name}: unknown key; {nearest(name, self._keys()) or self._all_keys()}")
        for key in self.unused:
            if _find(content, key.split("."))[0]:
                raise UsageError(f"{SETTINGS}: {key} is not used by {self.flow}. Leave it out.")

    def _keys(self) -> list[str]:
        return [key for key in dotted_keys(PipelineConfig) if key.partition(".")[0] in self.sections]

    def _all_keys(self) -> str:
        return f"valid keys: {', '.join(self._keys())}"

    def _refuse(self, name: str, known: frozenset[str]) -> NoReturn:
        keys = [f"{SETTINGS}.{key}" for key in self._keys()]
        hint = nearest(name, [*sorted(known - {SETTINGS}), *keys]) or f"its parameters: {', '.join(sorted(known))}."
        raise UsageError(
            f"{self.flow} has no parameter {name!r}; {hint} A schedule or run of an earlier release may still name it: "
            "edit it, or launch the run anew from the form."
        )


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings, whose keys may be dotted at any depth, as nested sections.

    Raises UsageError for a key that is set twice with different values.
    """
    content: dict[str, Any] = {}
    for path, value in _leaves(settings, ()):
        _put_once(content, path, value)
    return content


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - JSON
    if not isinstance(value, Mapping) or (path and not value):
        yield path, value
        return
    for name, each in value.items():
        yield from _leaves(each, (*path, *str(name).split(".")))


def _put_once(content: dict[str, Any], path: tuple[str, ...], value: Any) -> None:  # noqa: ANN401
    section: Any = content
    for part in path[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise UsageError(f"{SETTINGS}: {'.'.join(path)}: {part} is set to {section!r}, so it can have no keys.")
    if path[-1] in section and section[path[-1]] != value:
        if isinstance(section[path[-1]], dict) and value == {}:
            return
        raise UsageError(
            f"{SETTINGS}: {'.'.join(path)} is set twice, to {section[path[-1]]!r} and to {value!r}. Leave one out."
        )
    section[path[-1]] = value


def _find(content: Mapping[str, Any], path: list[str]) -> tuple[bool, Any]:
    found: Any = content
    for part in path:
        if not isinstance(found, Mapping) or part not in found:
            return False, None
        found = found[part]
    return True, found


def _remove(content: dict[str, Any], path: list[str]) -> None:
    """Remove a key, and the sections that become empty."""
    name, *rest = path
    if name not in content:
        return
    if rest:
        _remove(content[name], rest)
    if not rest or not content[name]:
        del content[name]


def _value(config: PipelineConfig, key: str) -> Any:  # noqa: ANN401
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found
