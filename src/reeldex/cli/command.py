"""What all `reeldex` commands share: flags of the configuration, --json, --verbose, error reports and exit statuses."""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from cyclopts import App, Group, Parameter, Token

from reeldex.cli.settings import Given, Setting
from reeldex.errors import ReeldexError, UserError
from reeldex.remote_faults import needs_user
from reeldex.remote_urls import is_url
from reeldex.storage.location import store_path


def _typed_name(name: str) -> str:
    """Return a Python name as it is typed on the command line."""
    return name.lower().strip("_").replace("_", "-")


DEFAULTS = Parameter(negative=(), show_default=False, name_transform=_typed_name, allow_repeating=True)
"""No `--no-` variant, and no default in the help unless a parameter requests it; the last of repeated options wins."""

_GENERAL = Group("General", sort_key=99)
_ON_OUTPUT = (
    inspect.Parameter(
        "json_",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, Parameter(name="--json", group=_GENERAL, help="Print the result as JSON on standard output.")
        ],
    ),
    inspect.Parameter(
        "verbose",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, Parameter(name=("--verbose", "-v"), group=_GENERAL, help="Show the log, including Prefect's.")
        ],
    ),
    inspect.Parameter(
        "log_format",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Literal["text", "json"] | None,
            Parameter(
                name="--log-format",
                group=_GENERAL,
                help="Format of the log on standard error; json: one object per line, and no progress bar (default: "
                "monitoring.log_format of the configuration, or text).",
            ),
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
    """Return a path of this machine. An empty one, as of an unset shell variable, would mean the current folder."""
    if not tokens[0].value:
        raise ValueError("the path is empty")
    if is_url(tokens[0].value):
        raise ValueError("it is a URL; give a path of this machine")
    return Path(tokens[0].value)


def _path_or_store(kind: object, tokens: Sequence[Token]) -> Path:
    try:
        return store_path(tokens[0].value) if is_url(tokens[0].value) else _path(kind, tokens)
    except UserError as error:
        raise ValueError(str(error).rstrip(".")) from error


NonEmptyPath = Annotated[Path, Parameter(converter=_path)]
"""A path of this machine that must not be empty."""
PathOrStore = Annotated[Path, Parameter(converter=_path_or_store)]
"""A path of this machine that must not be empty, or the URL of a store."""
_WRONG_PATH = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
_WRONG_PATH_ERRNOS = {errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS, errno.EACCES, errno.EPERM}
_HOW_TO_CONTINUE = {"train": "Saved checkpoints are kept; add --resume to continue from there."}


@dataclass(frozen=True)
class Output:
    """Output of a command: results on standard output, everything else on standard error."""

    as_json: bool = False
    verbose: bool = False
    log_format: str | None = None

    def respond(self, found: dict[str, Any], text: str) -> None:
        """Print the result: as JSON if requested, else as text."""
        if self.as_json:
            print_json(found)
        else:
            sys.stdout.write(text + "\n")

    def refuse(self, error: BaseException, status: int, advice: str = "") -> int:
        """Print the error, also as JSON if requested, and return the exit status."""
        if self.as_json:
            print_json({"error": f"{error}{advice}", "kind": type(error).__name__})
        from reeldex.cli import terminal

        terminal.report(f"{error}{advice}")
        return status


def print_json(found: dict[str, Any]) -> None:
    """Print a JSON object."""
    sys.stdout.write(json.dumps(found, indent=2, default=str) + "\n")


def command(
    name: str, *, details: str, example: str, settings: tuple[Setting, ...] = ()
) -> Callable[[Callable[..., int]], App]:
    """Make a command from a function: its parameters are arguments and options, its docstring the first line of help.

    A parameter `given` receives the configuration options, with a flag for each of `settings`; `output` prints the
    result. `details` is further help, ending with the exit statuses; `example` is a command line.
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
    def run(*arguments: Any, **options: Any) -> int:  # noqa: ANN401 - see the signature below
        output = Output(options.pop("json_", False), options.pop("verbose", False), options.pop("log_format", None))
        flags = {each.key: (each, options.pop(each.name, None)) for each in settings}
        file, assignments = options.pop("config_file", None), options.pop("assignments", ())

        def act() -> int:
            if takes_configuration:
                values = {key: each.value(value) for key, (each, value) in flags.items() if value is not None}
                given = Given(file, assignments, values)
                with _monitored(given, output):
                    return action(*arguments, **options, given=given, output=output)
            return action(*arguments, **options, output=output)

        return report_errors(act, name, output)

    parameters = [*own, *generated, *configuration, *_ON_OUTPUT]
    # The signature that inspect, and so the parser, sees.
    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


@contextlib.contextmanager
def _monitored(given: Given, output: Output) -> Iterator[None]:
    """Log, and record the metrics of runs, as the configuration says. Raises UsageError for one that is not valid."""
    from reeldex.cli import terminal
    from reeldex.flows.monitoring.run_file import recording_in

    monitoring = given.monitoring()
    terminal.set_up_logging(verbose=output.verbose, log_format=output.log_format or monitoring.log_format)
    with recording_in(monitoring.metrics_folder):
        yield


def report_errors(act: Callable[[], int], name: str, output: Output) -> int:
    """Run a command and return its exit status. An expected error is printed without a trace.

    2: the user has to correct the command, its input or a path. 1: the machine or something else failed.
    """
    from reeldex.cli import terminal

    terminal.set_up_logging(verbose=output.verbose, log_format=output.log_format or "text")
    try:
        return act()
    except UserError as error:
        from reeldex.flows.execution.errors import is_infrastructure_fault

        # A store's file that cannot be read may be either.
        return output.refuse(error, 1 if is_infrastructure_fault(error) else 2)
    except ReeldexError as error:
        return output.refuse(error, 2 if _is_wrong_path(error) else 1)
    except BrokenPipeError:
        raise  # the reader of standard output is closed: handled in main
    except OSError as error:
        return _refuse_system_error(error, name, output)
    except KeyboardInterrupt:
        return _stopped(name)
    except Exception as error:
        if not _caused_by_interrupt(error):
            raise
        return _stopped(name, error)


def _refuse_system_error(error: OSError, name: str, output: Output) -> int:
    """Print an error of the operating system; return 2 for a path that the user has to correct, else 1."""
    if needs_user(error) is not None:  # says itself what to do
        return output.refuse(error, 2 if _is_wrong_path(error) else 1)
    if _is_wrong_path(error):
        return output.refuse(error, 2, ". Check the path and its permissions.")
    from reeldex.storage.system_errors import remedy_for

    return output.refuse(error, 1, f". {remedy_for(error)} {_how_to_continue(name)}")


def _is_wrong_path(error: BaseException) -> bool:
    """Whether the user has to correct a path or its permissions; of an object store, its URL or the credentials."""
    if (of_user := needs_user(error)) is not None:
        return of_user
    return isinstance(error, _WRONG_PATH) or (isinstance(error, OSError) and error.errno in _WRONG_PATH_ERRNOS)


def _caused_by_interrupt(error: BaseException) -> bool:
    """Whether an error was caused by Ctrl-C, as PyTorch raises one when writing a checkpoint is interrupted."""
    context = error.__context__
    return context is not None and (isinstance(context, KeyboardInterrupt) or _caused_by_interrupt(context))


def _stopped(name: str, error: Exception | None = None) -> int:
    """Report a stop by Ctrl-C, and the error that it caused, which may say more than that it was interrupted."""
    caused = "" if error is None else f" (it caused {type(error).__name__}: {error})"
    from reeldex.cli import terminal

    terminal.report(f"stopped{caused}. {_how_to_continue(name)}")
    return 130


def _how_to_continue(name: str) -> str:
    return _HOW_TO_CONTINUE.get(name, "Finished work is kept; run the same command to continue.")
