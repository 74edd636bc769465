"""`reeldex up`, `reeldex deploy`, `reeldex worker` and `reeldex flow-run`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reeldex.cli.command import Output, command
from reeldex.cli.settings import Given
from reeldex.errors import UsageError

Home = Annotated[
    Path | None,
    Parameter(
        metavar="DIR",
        help="Folder of Prefect's state (default: PREFECT_HOME, or else ~/.local/state/reeldex/prefect).",
    ),
]


@command(
    "up",
    details="Starts a Prefect server on loopback, or uses the one that PREFECT_API_URL or your Prefect profile names, "
    "and does what `reeldex deploy` and `reeldex worker` do. Runs are executed in the current folder. A server "
    "that it starts requires a secret: the printed URL grants a browser access, and programs send the content of "
    "~/.local/state/reeldex/server-secret (mode 600). Press Ctrl-C to stop.\n\n"
    "Exit status: 0 stopped as requested; 2 wrong usage, or a process ended unexpectedly.",
    example="reeldex up --port 4200",
)
def up(  # noqa: PLR0913 - each is an option
    *,
    port: Annotated[int, Parameter(metavar="N", help="Port of the server.", show_default=True)] = 4200,
    home: Home = None,
    runs: Annotated[int, Parameter(metavar="N", help="Runs at a time.", show_default=True)] = 4,
    database: Annotated[
        str | None,
        Parameter(
            metavar="URL",
            help="Database of the server, such as postgresql://user:password@host/prefect (default: that of Prefect's "
            "settings, or else an SQLite file in --home). Other users of this machine can see the options of a "
            "command: for a password, set PREFECT_SERVER_DATABASE_CONNECTION_URL instead.",
        ),
    ] = None,
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
    _require_runs(runs)
    server.up(given.configuration(), server.UpOptions(port, home, runs, no_secret, database))
    return 0


@command(
    "deploy",
    details="Registers the flows, the schedules of pipeline.yaml, the limit of runs at a time, and the automations for "
    "hosts that stop responding, on the Prefect server that PREFECT_API_URL or your Prefect profile names. Run it "
    "again after a change of pipeline.yaml or an upgrade; edits made in the Prefect UI are kept.\n\n"
    "Exit status: 0 registered; 2 wrong usage or configuration, or no such server.",
    example="reeldex deploy --runs 8",
)
def deploy(
    *,
    runs: Annotated[
        int | None,
        Parameter(
            metavar="N",
            help="Runs at a time, on all machines together (default: the limit that the work pool has, or else 4).",
        ),
    ] = None,
    given: Given,
    output: Output,
) -> int:
    """Register the flows on your own Prefect server, with limits and automations."""
    del output  # it prints only what it did
    from reeldex.flows.server import deploy as registration

    if runs is not None:
        _require_runs(runs)
    registration.deploy(given.configuration(), runs)
    return 0


@command(
    "worker",
    details="Executes runs of the Prefect server that PREFECT_API_URL or your Prefect profile names, on which "
    "`reeldex deploy` has registered the flows, in the current folder. Runs that use the same device take turns. Runs "
    "whose process has died are marked as crashed, and old runs are deleted (server.retention_days in pipeline.yaml). "
    "With --log-format json, its log and that of its runs go to standard error, else to a file in --home. Press Ctrl-C "
    "to stop.\n\n"
    "Exit status: 0 stopped as requested; 2 wrong usage, or the worker ended unexpectedly.",
    example="reeldex worker --runs 2",
)
def worker(
    *,
    runs: Annotated[int, Parameter(metavar="N", help="Runs at a time on this machine.", show_default=True)] = 4,
    home: Home = None,
    given: Given,
    output: Output,
) -> int:
    """Execute runs of your own Prefect server on this machine."""
    from reeldex.flows.server import worker as program

    _require_runs(runs)
    config = given.configuration()
    monitoring = config.monitoring.replaced(log_format=output.log_format or config.monitoring.log_format)
    program.worker(runs, home, config.server.retention_days, monitoring)
    return 0


@command(
    "flow-run",
    details="The command of Docker and Kubernetes work pools: their worker starts a container per run, and names the "
    "run in its environment (PREFECT__FLOW_RUN_ID).\n\n"
    "Exit status: 0 the run has ended, in whatever state; 2 wrong usage.",
    example="reeldex flow-run",
)
def flow_run(*, output: Output) -> int:
    """Execute one run of a Prefect server in this process, in a container of a work pool."""
    del output  # the run's log is the server's
    if "PREFECT__FLOW_RUN_ID" not in os.environ:
        raise UsageError(
            "PREFECT__FLOW_RUN_ID is not set: this is the command of a Docker or Kubernetes work pool, whose worker "
            "sets it. `reeldex worker` executes runs on this machine."
        )
    from reeldex.flows.server.flow_process import main

    # Prefect's engine takes a first argument for the id of the run.
    del sys.argv[1:]
    main()
    return 0


def _require_runs(runs: int) -> None:
    if runs < 1:
        raise UsageError(f"--runs {runs}: must be at least 1.")
