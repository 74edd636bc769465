"""What every `reeldex` command's parser has. Loads nothing else: `--help` is to answer at once."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of examples."""


# argparse gives the type no public name.
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def command(  # noqa: PLR0913, PLR0917 - the parts of its help
    commands: Subparsers, name: str, purpose: str, details: str, example: str, module: str = "reeldex.cli.commands"
) -> argparse.ArgumentParser:
    """Add a command, which `run_<name>` in `module` does, and return its parser."""
    parser = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.\n\n{details}",
        epilog=f"Example: {example}",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON on standard output")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the log, Prefect's too")
    parser.set_defaults(run=_runner(module, name))
    return parser


def _runner(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        action: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), f"run_{name}")
        return action(arguments)

    return run


def path(text: str) -> Path:
    """Return a path; an empty one, as of a variable that is not set, would be the present folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text)
