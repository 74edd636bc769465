"""`reeldex config show`, `schema` and `init`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reeldex.cli.command import DEFAULTS, NonEmptyPath, Output, command
from reeldex.cli.settings import Given
from reeldex.errors import UsageError
from reeldex.flows.config.document import commented
from reeldex.flows.config.pipeline import CONFIG_FILE_NAME, PipelineConfig

config = App(
    name="config",
    help="Show, describe or create the configuration.",
    help_epilogue="Exit status: 0 done; 2 wrong usage or configuration.\n\nExample: reeldex config init",
    help_format="plaintext",
    default_parameter=DEFAULTS,
)


@config.command
@command(
    "show",
    details="Values come from --config (default: ./pipeline.yaml if it exists), --set and the defaults.\n\n"
    "Exit status: 0 shown; 2 wrong usage or configuration.",
    example="reeldex config show --set compute.decoders=4",
)
def show(*, given: Given, output: Output) -> int:
    """Print the effective values, with their descriptions."""
    effective = given.configuration()
    output.respond(effective.model_dump(mode="json"), commented(effective).removesuffix("\n"))
    return 0


@config.command
@command(
    "schema",
    details="Editors with JSON Schema support use it to complete and check pipeline.yaml.\n\nExit status: 0 printed.",
    example="reeldex config schema > pipeline.schema.json",
)
def schema(*, output: Output) -> int:
    """Print the JSON schema of the configuration."""
    described = PipelineConfig.model_json_schema()
    output.respond(described, json.dumps(described, indent=2))
    return 0


@config.command
@command(
    "init",
    details="The file contains every key with its description and default.\n\n"
    "Exit status: 0 written; 2 the file exists already, or cannot be written.",
    example="reeldex config init",
)
def init(
    file: Annotated[NonEmptyPath, Parameter(help="The file to write.")] = Path(CONFIG_FILE_NAME),
    /,
    *,
    force: Annotated[bool, Parameter(help="Replace an existing file.")] = False,
    output: Output,
) -> int:
    """Write a commented pipeline.yaml."""
    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(commented(PipelineConfig()))
    except FileExistsError as error:
        raise UsageError(f"{file} exists already. Name another file, or replace it with --force.") from error
    output.respond({"file": str(file)}, f"Wrote {file}")
    return 0
