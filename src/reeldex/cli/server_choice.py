"""Whether a command creates a flow run on a Prefect server, or does the same work in this process without Prefect."""

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
    """Return whether a command is to run as a flow; if so, this process is ready to use the configured server.

    `wanted` is what `--server/--no-server` say, None for neither. Prefect is not imported for False. Raises UsageError
    when a server is wanted and none is configured, and when the configured one does not answer or refuses this user.
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
        # Our log goes to Prefect's of a run, too; what is logged outside runs does not.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    use_server(api_url)
    return True
