"""Conversion between frozen dataclasses and JSON values, derived from the fields' types by pydantic.

Fields of dataclasses that are read back use the strict types below: a number in quotes or a missing field is an error,
never coerced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

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
