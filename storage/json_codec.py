"""Conversion between frozen dataclasses and JSON values, derived from the fields' types by pydantic.

Fields of dataclasses that are read back use the strict types below: a number in quotes or a missing field is an error,
never coerced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

from pydantic import AllowInfNan, Field, GetPydanticSchema, Strict, TypeAdapter, ValidationError
from pydantic_core import core_schema, to_jsonable_python

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Not pydantic's own str, which must be UTF-8: other file names contain surrogate escapes.
Text = Annotated[str, GetPydanticSchema(lambda *_: core_schema.is_instance_schema(str))]
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]
AnyObject = GetPydanticSchema(lambda *_: core_schema.is_instance_schema(dict))
"""Annotation of a field with any JSON object, whose content is not validated."""

OwnJson = GetPydanticSchema(
    lambda *_: core_schema.any_schema(
        serialization=core_schema.plain_serializer_function_ser_schema(
            lambda value: None if value is None else value.to_json()
        )
    )
)
"""Annotation of a field whose value, unless it is None, has a `to_json` of its own."""
NotInJson = Field(exclude=True)
"""Annotation of a field that `to_json` leaves out."""

T = TypeVar("T")
_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def to_json(value: object) -> Any:  # noqa: ANN401 - JSON values
    """Return a dataclass as a JSON object: its fields in their order, under their aliases if any.

    NaN and infinity are kept; `json.dumps(..., allow_nan=False)` refuses them.
    """
    adapter = _adapter(type(value))
    return to_jsonable_python(adapter.dump_python(value, by_alias=True), inf_nan_mode="constants")


def from_json(kind: type[T], values: object) -> T:
    """Return the dataclass `kind` with these JSON values, undoing `to_json`.

    Raises ValueError that names the first field that is missing, unknown, of the wrong type or invalid.
    """
    try:
        found: T = _adapter(kind).validate_python(values, extra="forbid")
    except ValidationError as error:
        raise ValueError(_explain(error.errors(include_url=False)[0])) from error
    return found


def row_reader(kind: type[Any], names: Sequence[str]) -> Callable[[object], tuple[Any, ...]]:
    """Return a function that does for rows what `from_json` does for objects, and returns values instead of `kind`.

    A row is a JSON array of a dataclass's fields in the order of `names`; the values are in the order of the fields.
    Raises ValueError unless the names are those of the fields.
    """
    names, types = list(names), get_type_hints(kind, include_extras=True)
    if sorted(names) != sorted(types):
        raise ValueError(f"the fields are {names!r:.200} instead of {list(types)}")
    row_type: Any = GenericAlias(tuple, tuple(types[name] for name in names))
    adapter: TypeAdapter[tuple[Any, ...]] = TypeAdapter(row_type)
    in_order = itemgetter(*(names.index(name) for name in types))

    def read(row: object) -> tuple[Any, ...]:
        try:
            values: tuple[Any, ...] = in_order(adapter.validate_python(row))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = tuple(names[part] if isinstance(part, int) else part for part in problem["loc"])
            raise ValueError(_explain({**problem, "loc": place})) from error
        return values

    return read


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    # Not functools.cache: mypy does not consider a class hashable.
    found = _adapters.get(kind)
    if found is None:
        found = _adapters[kind] = TypeAdapter(kind)
    return found


def _explain(problem: ErrorDetails) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "missing":
        return f"the field {place!r} is missing"
    if problem["type"] == "unexpected_keyword_argument":
        return f"the field {place!r} is unknown"
    if problem["type"] == "value_error":
        reason = str(problem["ctx"]["error"]).rstrip(".")
        return f"{place}: {reason}" if place else reason
    found = f"{problem['msg'][:1].lower()}{problem['msg'][1:]}, found {problem['input']!r:.80}"
    return f"the field {place!r}: {found}" if place else found
