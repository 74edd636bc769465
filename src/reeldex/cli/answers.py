"""How a command answers: results on standard output, everything else on standard error, and honest exit statuses."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable
from typing import Any

from reeldex.cli import terminal
from reeldex.errors import UsageError, UserError

Arguments = argparse.Namespace

_TO_GO_ON = {"train": "What was saved is kept; add --resume to go on from there."}


def honest(command: Callable[[Arguments], int]) -> Callable[[Arguments], int]:
    """Show an error that has a remedy as its message alone, with exit status 2."""

    @functools.wraps(command)
    def run(arguments: Arguments) -> int:
        terminal.set_up_logging(verbose=arguments.verbose)
        try:
            return command(arguments)
        except UserError as error:
            return refuse(arguments, error, 2)
        except BrokenPipeError:
            raise  # the reader of our answer has gone: main's business
        except OSError as error:
            return refuse(arguments, error, 2, ". Check the path, its permissions and the space on its disk.")
        except KeyboardInterrupt:
            to_go_on = _TO_GO_ON.get(arguments.command, "What was finished is kept; run the same command to go on.")
            sys.stderr.write(f"reeldex: stopped. {to_go_on}\n")
            return 130

    return run


def pairs(texts: list[str], option: str) -> dict[str, str]:
    """Return NAME=VALUE texts as a dict. Raises UsageError for one of another form; `option` is what it should be."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{text!r} does not have the form of {option}.")
        found[name] = value
    return found


def refuse(arguments: Arguments, error: BaseException, status: int, advice: str = "") -> int:
    """Say what went wrong, as JSON too if that was asked for, and return the exit status."""
    if arguments.json:
        print_json({"error": f"{error}{advice}", "kind": type(error).__name__})
    sys.stderr.write(f"reeldex: {error}{advice}\n")
    return status


def respond(arguments: Arguments, found: dict[str, Any], text: str) -> None:
    """Print the answer: JSON if that was asked for, else the text."""
    if arguments.json:
        print_json(found)
    else:
        sys.stdout.write(text + "\n")


def print_json(found: dict[str, Any]) -> None:
    """Print a JSON object."""
    sys.stdout.write(json.dumps(found, indent=2, default=str) + "\n")
