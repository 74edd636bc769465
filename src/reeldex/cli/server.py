"""`reeldex up`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reeldex.cli.command import Output, command
from reeldex.cli.settings import Given
from reeldex.errors import UsageError


@command(
    "up",
    details="Starts a Prefect server on loopback, or uses the one that PREFECT_API_URL or your Prefect profile names, "
    "and registers the flows and the schedules of pipeline.yaml. Runs are executed in the current folder. A server "
    "that it starts requires a secret: the printed URL grants a browser access, and programs send the content of "
    "~/.local/state/reeldex/server-secret (mode 600). Press Ctrl-C to stop.\n\n"
    "Exit status: 0 stopped as requested; 2 wrong usage, or a process ended unexpectedly.",
    example="reeldex up --port 4200",
)
def up(  # noqa: PLR0913 - each is an option
    *,
    port: Annotated[int, Parameter(metavar="N", help="Port of the server.", show_default=True)] = 4200,
    home: Annotated[
        Path | None,
        Parameter(
            metavar="DIR",
            help="Folder of Prefect's state (default: PREFECT_HOME, or else ~/.local/state/reeldex/prefect).",
        ),
    ] = None,
    runs: Annotated[int, Parameter(metavar="N", help="Runs at a time.", show_default=True)] = 4,
    no_secret: Annotated[
        bool,
        Parameter(
            name="--no-secret",
            help="Give every user and program of this machine access, who can then execute commands as you.",
        ),
    ] = False,
    given: Given,
    output: Output,
) -> int:
    """Run everything from the Prefect UI: server, deployments and worker."""
    del output  # it prints only the address
    from reeldex.flows.server import up as server

    if not 0 < port < 65536:
        raise UsageError(f"--port {port}: must be 1 to 65535.")
    if runs < 1:
        raise UsageError(f"--runs {runs}: must be at least 1.")
    server.up(given.configuration(), server.UpOptions(port, home, runs, no_secret))
    return 0
