"""Whether a command creates a flow run on a Prefect server, or does the work in this process without Prefect."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

ServerChoice = Annotated[
    bool | None,
    Parameter(
        name="--server",
        negative="--no-server",
        help="Create a flow run on the configured Prefect server, or work without one. Default: a flow run if a server "
        "is configured.",
    ),
]
"""The flags `--server/--no-server`; None for neither."""


def uses_server(wanted: bool | None, *, verbose: bool) -> bool:  # noqa: FBT001 - three-valued, as the flags are
    """Return whether a command runs as a flow; if so, prepare this process to use the configured server.

    `wanted` is the value of `--server/--no-server`, None for neither. For False, Prefect is not imported. Raises
    UsageError when a server is required but not configured, does not answer, or rejects this user.
    """
    if wanted is False:
        return False
    from reeldex.flows.server.configured import find_server, use_server

    api_url = find_server()
    if api_url is None and not wanted:
        return False
    # Prefect reads its settings when it is imported.
    settings = {
        "PREFECT_LOGGING_LEVEL": "INFO" if verbose else "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Our log also goes to Prefect's log of a run; records outside of runs do not.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    use_server(api_url)
    return True
