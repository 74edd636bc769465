"""Flows whose parameters are the fields of a short form, and `settings` for everything else."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from prefect import Flow
from pydantic import Field, WithJsonSchema
from pydantic.fields import FieldInfo

from reeldex.flows.config.forms import SETTINGS
from reeldex.flows.runs.states import run_to_state

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from reeldex.flows.config.forms import Form, KeyField

_CONFIG = "config"
_ABOUT_SETTINGS = (
    "Any other keys of pipeline.yaml for this run, nested or dotted, such as {}. `reeldex config show` lists all keys "
    "with their descriptions. An unknown key ends the run at once."
)


class FormFlow(Flow[..., Any]):
    """A flow whose form is described by `form`; `own` are its parameters besides the fields of the form."""

    form: Form
    own: frozenset[str]


def form_flow(
    form: Form, *, description: str, run_name: Callable[[], str], example: str = ""
) -> Callable[[Callable[..., State[Any]]], FormFlow]:
    """Make a flow of a function with keyword parameters: in the place of `config`, its form has the fields of `form`.

    `settings` is its last field, with `example` in its description. A field's type, bounds, title and description are
    those of the key's option; those of the other parameters are in their annotations.
    """

    def decorate(action: Callable[..., State[Any]]) -> FormFlow:
        hints = get_type_hints(action, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for each in inspect.signature(action).parameters.values():
            if each.name == _CONFIG:
                parameters += [_parameter(field.name, _of_option(field), field.default) for field in form.fields]
            else:
                parameters.append(_parameter(each.name, hints[each.name], each.default))
        if form.sections:
            about = Field(title="Further settings", description=_ABOUT_SETTINGS.format(example))
            parameters.append(_parameter(SETTINGS, Annotated[dict[str, Any], about], {}))
        parameters[0] = _introduced(parameters[0], description)

        def run(**given: Any) -> State[Any]:  # noqa: ANN401 - see the signature below
            own = {name: value for name, value in given.items() if name in made.own}

            def work() -> State[Any]:
                if form.sections:
                    values = {name: value for name, value in given.items() if name not in made.own}
                    own[_CONFIG] = form.configuration(values, values.pop(SETTINGS, {}))
                return action(**own)

            return run_to_state(work)

        _pass_for(run, action, parameters)
        made = FormFlow(
            run,
            name=form.flow,
            description=description,
            flow_run_name=run_name,
            version=importlib.metadata.version("reeldex"),
        )
        made.form = form
        made.own = frozenset(hints) - {_CONFIG, "return"}
        return made

    return decorate


def _pass_for(run: Callable[..., Any], action: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Give `run` the name and place of `action`, and these parameters, as Prefect reads them."""
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(run, name, getattr(action, name))
    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {each.name: each.annotation for each in parameters}


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:  # noqa: ANN401 - type expressions
    if isinstance(default, Enum):
        default = default.value
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_labelled(_with_plain_choices(annotation))
    )


def _introduced(parameter: inspect.Parameter, description: str) -> inspect.Parameter:
    """Return the first parameter of a form, whose text begins with what the flow does.

    The UI shows the description of a deployment only on the fifth tab of its page, and not beside the form.
    """
    what = " ".join(description.partition("\n\n")[0].replace("*", "").split())
    extra = parameter.annotation.__metadata__[-1].json_schema_extra
    extra["description"] = f"{what} {extra.get('description', '')}".strip()
    return parameter


def _of_option(field: KeyField) -> Any:  # noqa: ANN401 - a type expression
    """Return the annotation of a key's option; a text for one that may be null."""
    option = field.option
    about = Field(title=option.title, description=field.description)
    if type(None) in get_args(option.annotation):
        return Annotated[str, about]
    return Annotated[option.annotation, *option.metadata, about]


def _with_plain_choices(annotation: Any) -> Any:  # noqa: ANN401
    """Return an annotation whose enumerations are described in place; a form shows a title only there."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return Annotated[annotation, WithJsonSchema({"type": "string", "enum": [each.value for each in annotation]})]
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return Annotated[_with_plain_choices(inner), *metadata]
    if get_origin(annotation) in (list, tuple):
        item = get_args(annotation)[0]
        return list[_with_plain_choices(item)]  # type: ignore[misc]
    return annotation


def _labelled(annotation: Any) -> Any:  # noqa: ANN401
    """Return an annotation with its title and description where Prefect keeps them, as an extra of the JSON schema."""
    found: dict[str, Any] = {}
    for each in getattr(annotation, "__metadata__", ()):
        if isinstance(each, FieldInfo):
            found |= {name: value for name in ("title", "description") if (value := getattr(each, name))}
    return Annotated[annotation, Field(json_schema_extra=found)]
