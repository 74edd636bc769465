"""The base of every options model, and bounds shared by several of them. Imports only pydantic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# The seed range that all random generators accept.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Options(BaseModel):
    """A frozen value that rejects unknown keys; bounds, titles and descriptions are in the annotations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def replaced(self, **changes: Any) -> Self:  # noqa: ANN401 - each field has its own type
        """Return these options with some values changed, validated again. Raises ValueError."""
        return type(self).model_validate({**dict(self), **changes})


def fault_message(fault: ErrorDetails) -> str:
    """Return what is wrong with a value, of a ValidationError; without the name of Python's class of errors."""
    return str(fault["ctx"]["error"]) if fault["type"] in {"value_error", "assertion_error"} else fault["msg"]
