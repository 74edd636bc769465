"""`reeldex deploy`: deployments, limits and automations on the Prefect server of the user's settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from reeldex.errors import UsageError
from reeldex.flows.runs.names import WORK_POOL
from reeldex.flows.server.access import require_access
from reeldex.flows.server.job_template import fixed_job_template, job_variables
from reeldex.flows.server.known_servers import find_secret
from reeldex.flows.server.process import is_healthy
from reeldex.flows.server.programs import say
from reeldex.flows.server.settings import apply_settings

if TYPE_CHECKING:
    from reeldex.flows.config.pipeline import PipelineConfig

# Runs at a time in the work pool, over all its workers, unless somebody says otherwise.
DEFAULT_RUNS = 4
_HOW = "Start it, correct the address, or unset it to have a server started here by `reeldex up`."


def deploy(config: PipelineConfig, runs: int | None) -> None:
    """Register everything on the configured server, for runs in the current folder of its workers.

    `runs`: the work pool's limit; without one, a limit that the pool already has is kept. Raises UsageError without a
    server that answers.
    """
    api_url = use_configured_server()
    register_all(config, runs, own_server=is_own_server(api_url))
    say(
        f"Registered the deployments, limits and automations of reeldex at {api_url}.\n"
        "Start `reeldex worker` on each machine that is to execute runs."
    )


def use_configured_server() -> str:
    """Make this process use the server that Prefect's settings name; return its API URL.

    Raises UsageError if there is none, it does not answer, or it rejects this user.
    """
    from prefect.settings import get_current_settings

    api_url = get_current_settings().api.url
    if api_url is None:
        raise UsageError(
            "No Prefect server is configured. Set PREFECT_API_URL, such as http://127.0.0.1:4200/api, or have a server "
            "started here by `reeldex up`."
        )
    os.environ["PREFECT_API_URL"] = api_url
    if not is_healthy(api_url):
        raise UsageError(
            f"No Prefect server answers at {api_url}, which PREFECT_API_URL or your Prefect profile names. {_HOW}"
        )
    find_secret(api_url)
    apply_settings()
    require_access(api_url)
    return api_url


def register_all(config: PipelineConfig, runs: int | None, *, own_server: bool) -> None:
    """Register the deployments, the limit of the work pool, and the automations.

    On a server of `reeldex up`, the work pool says how runs are started, and no run can say otherwise.
    """
    from reeldex.flows.server.automations import register_automations
    from reeldex.flows.server.deployments import deployments, register
    from reeldex.flows.server.notifications import register_notifications
    from reeldex.flows.server.schedule_sources import absent_sources

    with _one_client():
        if own_server:
            register(deployments(config, {}), fixed_job_template(job_variables()))
        else:
            register(deployments(config, job_variables()))
        _limit_runs(runs)
        register_automations()
        register_notifications(config.notify)
    for sentence in absent_sources(config):
        say(f"WARNING: {sentence}")


@contextmanager
def _one_client() -> Iterator[None]:
    """Let all that the block asks of the server share a client: each new one loads a bundle of certificates.

    Raises UsageError for a server of another major version, or one that cannot be reached.
    """
    from prefect.context import SyncClientContext

    with ExitStack() as stack:
        try:
            stack.enter_context(SyncClientContext.get_or_create())
        except RuntimeError as error:
            reason = str(error).rstrip(".")
            raise UsageError(
                f"The Prefect server cannot be used, and nothing was registered: {reason}. Check that it is running, "
                "and use a server of the same major version as Prefect here."
            ) from error
        yield


def is_own_server(api_url: str) -> bool:
    """Whether the server's work pool has the job template of `reeldex up`."""
    from reeldex.flows.server.known_servers import is_running_server

    return is_running_server(api_url)


def _limit_runs(runs: int | None) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolUpdate

    with get_client(sync_client=True) as client:
        if runs is None and client.read_work_pool(WORK_POOL).concurrency_limit is not None:
            return
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=runs or DEFAULT_RUNS))
