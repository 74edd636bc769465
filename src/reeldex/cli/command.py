"""What every `reeldex` command has: flags of the configuration, --json and --verbose, and exit statuses that hold."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import App, Group, Parameter, Token

from reeldex.cli.settings import Given, Setting
from reeldex.errors import ReeldexError, UserError


def _typed_name(name: str) -> str:
    """Return a name of Python's as it is typed."""
    return name.lower().strip("_").replace("_", "-")


DEFAULTS = Parameter(negative=(), show_default=False, name_transform=_typed_name, allow_repeating=True)
"""No `--no-` twin, no shown default unless a parameter asks for it; the last of repeated options counts."""

_GENERAL = Group("General", sort_key=99)
_ON_OUTPUT = (
    inspect.Parameter(
        "json_",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, Parameter(name="--json", group=_GENERAL, help="Print the answer as JSON on standard output.")
        ],
    ),
    inspect.Parameter(
        "verbose",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, Parameter(name=("--verbose", "-v"), group=_GENERAL, help="Show the log, Prefect's too.")
        ],
    ),
)
_ON_CONFIGURATION = (
    inspect.Parameter(
        "config_file",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None,
            Parameter(
                name="--config",
                group=_GENERAL,
                metavar="FILE",
                help="Configuration (default: ./pipeline.yaml if it exists).",
            ),
        ],
    ),
    inspect.Parameter(
        "assignments",
        inspect.Parameter.KEYWORD_ONLY,
        default=(),
        annotation=Annotated[
            tuple[str, ...],
            Parameter(
                name="--set",
                group=_GENERAL,
                metavar="KEY=VALUE",
                help="Any key of pipeline.yaml by its dotted path (repeatable).",
            ),
        ],
    ),
)


def _path(_: object, tokens: Sequence[Token]) -> Path:
    """Return a path; an empty one, as of a variable that is not set, would be the present folder."""
    if not tokens[0].value:
        raise ValueError("the path is empty")
    return Path(tokens[0].value)


NonEmptyPath = Annotated[Path, Parameter(converter=_path)]
"""A path that is refused when it is empty."""
_TO_GO_ON = {"train": "What was saved is kept; add --resume to continue from there."}


@dataclass(frozen=True)
class Output:
    """How a command answers: results on standard output, everything else on standard error."""

    as_json: bool = False
    verbose: bool = False

    def respond(self, found: dict[str, Any], text: str) -> None:
        """Print the answer: JSON if that was asked for, else the text."""
        if self.as_json:
            print_json(found)
        else:
            sys.stdout.write(text + "\n")

    def refuse(self, error: BaseException, status: int, advice: str = "") -> int:
        """Print what went wrong, as JSON too if that was asked for, and return the exit status."""
        if self.as_json:
            print_json({"error": f"{error}{advice}", "kind": type(error).__name__})
        sys.stderr.write(f"reeldex: {error}{advice}\n")
        return status


def print_json(found: dict[str, Any]) -> None:
    """Print a JSON object."""
    sys.stdout.write(json.dumps(found, indent=2, default=str) + "\n")


def command(
    name: str, *, details: str, example: str, settings: tuple[Setting, ...] = ()
) -> Callable[[Callable[..., int]], App]:
    """Make a command of a function: its parameters are arguments and options, its docstring the first line of help.

    A parameter `given` gets what the command line says of the configuration, with a flag for each of `settings`;
    `output` is how to answer. `details` explain and end with the exit statuses; `example` is a command line.
    """

    def decorate(action: Callable[..., int]) -> App:
        return App(
            name=name,
            help=inspect.getdoc(action),
            help_epilogue=f"{details}\n\nExample: {example}",
            help_format="plaintext",
            default_command=_typed(action, name, settings),
            default_parameter=DEFAULTS,
        )

    return decorate


def _typed(action: Callable[..., int], name: str, settings: tuple[Setting, ...]) -> Callable[..., int]:
    """Return the action as the parser sees it: with a parameter for every flag."""
    hints = get_type_hints(action, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(action).parameters.values()
        if parameter.name not in {"given", "output"}
    ]
    takes_configuration = "given" in hints
    generated = [each.parameter() for each in settings]
    configuration = _ON_CONFIGURATION if takes_configuration else ()

    @functools.wraps(action)
    def run(*arguments: Any, **options: Any) -> int:  # noqa: ANN401 - what the signature below says
        output = Output(options.pop("json_", False), options.pop("verbose", False))
        flags = {each.key: (each, options.pop(each.name, None)) for each in settings}
        file, assignments = options.pop("config_file", None), options.pop("assignments", ())

        def act() -> int:
            if takes_configuration:
                values = {key: each.value(value) for key, (each, value) in flags.items() if value is not None}
                options["given"] = Given(file, assignments, values)
            return action(*arguments, **options, output=output)

        return report_errors(act, name, output)

    parameters = [*own, *generated, *configuration, *_ON_OUTPUT]
    # What inspect, and with it the parser, takes for the signature.
    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def report_errors(act: Callable[[], int], name: str, output: Output) -> int:
    """Do it and return its exit status; an error that the user can mend is its message alone, with exit status 2."""
    from reeldex.cli import terminal

    terminal.set_up_logging(verbose=output.verbose)
    try:
        return act()
    except UserError as error:
        return output.refuse(error, 2)
    except ReeldexError as error:
        return output.refuse(error, 1)
    except BrokenPipeError:
        raise  # the reader of our answer has gone: main's business
    except OSError as error:
        return output.refuse(error, 2, ". Check the path, its permissions and the space on its disk.")
    except KeyboardInterrupt:
        return _stopped(name)
    except Exception as error:
        if not _broke_off(error):
            raise
        return _stopped(name)


def _broke_off(error: BaseException) -> bool:
    """Whether an error followed from Ctrl-C, as PyTorch raises one when a checkpoint is only half written."""
    context = error.__context__
    return context is not None and (isinstance(context, KeyboardInterrupt) or _broke_off(context))


def _stopped(name: str) -> int:
    to_go_on = _TO_GO_ON.get(name, "What was finished is kept; run the same command to continue.")
    sys.stderr.write(f"reeldex: stopped. {to_go_on}\n")
    return 130
