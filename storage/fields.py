"""Reading JSON objects strictly: a missing, extra or wrongly typed field is named, never guessed."""

import math
from collections.abc import Mapping
from typing import NoReturn

from reeldex.storage.errors import StoreDamagedError


class Fields:
    """A JSON object whose fields are taken one by one, each with the type it must have.

    `where` names the file and the place in it for messages; `remedy` says what to do. Every failure raises
    StoreDamagedError.
    """

    def __init__(self, values: object, where: str, remedy: str = "") -> None:
        self._where = where
        self._remedy = remedy
        if not isinstance(values, Mapping):
            self.refuse(f"expected a JSON object, found {type(values).__name__}")
        self._values: dict[object, object] = dict(values)

    def refuse(self, what: str) -> NoReturn:
        """Raise StoreDamagedError for this object."""
        raise StoreDamagedError(f"{self._where}: {what}. {self._remedy}".rstrip())

    def finish(self) -> None:
        """Refuse fields that nobody asked for."""
        if self._values:
            self.refuse(f"unknown fields {sorted(map(str, self._values))}")

    def text(self, name: str) -> str:
        """Take a string."""
        value = self._take(name)
        return value if isinstance(value, str) else self._wrong(name, "text", value)

    def optional_text(self, name: str) -> str | None:
        """Take a string or null."""
        value = self._take(name)
        return value if value is None or isinstance(value, str) else self._wrong(name, "text or null", value)

    def integer(self, name: str) -> int:
        """Take a whole number."""
        value = self._take(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return self._wrong(name, "a whole number", value)

    def optional_integer(self, name: str) -> int | None:
        """Take a whole number or null."""
        if self._is_null(name):
            self._take(name)
            return None
        return self.integer(name)

    def number(self, name: str) -> float:
        """Take a finite number."""
        value = self._take(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        return self._wrong(name, "a finite number", value)

    def optional_number(self, name: str) -> float | None:
        """Take a finite number or null."""
        if self._is_null(name):
            self._take(name)
            return None
        return self.number(name)

    def flag(self, name: str) -> bool:
        """Take true or false."""
        value = self._take(name)
        return value if isinstance(value, bool) else self._wrong(name, "true or false", value)

    def objects(self, name: str) -> "list[Fields]":
        """Take a list of objects."""
        value = self._take(name)
        if not isinstance(value, list):
            self._wrong(name, "a list", value)
        items: list[object] = value
        return [Fields(item, f"{self._where}: {name}[{at}]", self._remedy) for at, item in enumerate(items)]

    def mapping(self, name: str) -> dict[str, object]:
        """Take an object as it is."""
        value = self._take(name)
        if not isinstance(value, dict):
            self._wrong(name, "an object", value)
        return value

    def child(self, name: str) -> "Fields":
        """Take an object, to be read strictly itself."""
        return Fields(self.mapping(name), f"{self._where}: {name}", self._remedy)

    def names(self) -> tuple[str, ...]:
        """Name the fields not yet taken, in the file's order."""
        return tuple(str(name) for name in self._values)

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of strings."""
        value = self._take(name)
        items = value if isinstance(value, list) else [None]
        texts = tuple(item for item in items if isinstance(item, str))
        return texts if len(texts) == len(items) else self._wrong(name, "a list of texts", value)

    def _take(self, name: str) -> object:
        if name not in self._values:
            self.refuse(f"the field {name!r} is missing")
        return self._values.pop(name)

    def _is_null(self, name: str) -> bool:
        return name in self._values and self._values[name] is None

    def _wrong(self, name: str, wanted: str, found: object) -> NoReturn:
        self.refuse(f"the field {name!r} must be {wanted}, found {found!r:.80}")
