"""What shows that the process of a flow run is alive: a label, regular events, and a guard that outlives it."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events import Event, RelatedResource, Resource
from prefect.runtime import flow_run as this_run
from prefect.settings import get_current_settings
from prefect.states import Running

from reeldex.flows.runs.artifacts import server_errors_logged
from reeldex.flows.runs.lost_runs import crash_tasks_of, is_own, label_process
from reeldex.flows.runs.names import TAG
from reeldex.flows.runs.process_guard import FINISHED
from reeldex.flows.runs.state_events import send_missing_state_event
from reeldex.storage.process_id import own_process

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ALIVE_EVENT = "reeldex.run.alive"
ALIVE_SECONDS = 30.0
# Name of the state, of type Running, of a run of which the server has not heard for a while.
NOT_RESPONDING = "NotResponding"
# How messages begin that the server gives to runs which it has marked as crashed for their silence.
SILENT = "No sign of life"
_REQUEST_SECONDS = 20.0
_GUARD = "reeldex.flows.runs.process_guard"


@contextmanager
def signs_of_life() -> Iterator[None]:
    """Show, for the duration of the block, that this process works on the current flow run.

    Task runs that an earlier attempt of the run has left unfinished are marked as crashed first. Server errors are
    logged.
    """
    run_id = UUID(str(this_run.id))
    with (
        server_errors_logged("The process of this run could not be recorded on the server"),
        get_client(sync_client=True) as client,
    ):
        label_process(client, run_id)
        send_missing_state_event(client, run_id)
    _start_guard()
    with server_errors_logged("Tasks of an earlier attempt could not be marked as crashed"):
        crash_tasks_of(run_id, "The process of an earlier attempt of the run ended during this task.")
    over = threading.Event()
    thread = threading.Thread(target=_send_until, args=(over, run_id), name="signs_of_life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # An event that arrived after the final state would announce further ones.
        thread.join(_REQUEST_SECONDS)


def _send_until(over: threading.Event, run_id: UUID) -> None:
    while True:
        # The next one is sent soon enough; only silence matters.
        with (
            server_errors_logged("The server could not be told that this run is alive"),
            get_client(sync_client=True, httpx_settings={"timeout": _REQUEST_SECONDS}) as client,
        ):
            _correct_state(client, run_id)
            if not over.is_set():
                client.request("POST", "/events", json=[_alive(run_id).model_dump(mode="json")]).raise_for_status()
        if over.wait(ALIVE_SECONDS):
            return


def _correct_state(client: SyncPrefectClient, run_id: UUID) -> None:
    """Mark the run as running if the server has marked it otherwise for its silence, while it could not be reached."""
    run = client.read_flow_run(run_id)
    state = run.state
    if state is None or not is_own(run):
        return
    silent = state.type is StateType.CRASHED and (state.message or "").startswith(SILENT)
    if silent or state.name == NOT_RESPONDING:
        client.set_flow_run_state(run_id, Running(), force=True)
        label_process(client, run_id)


def _alive(run_id: UUID) -> Event:
    return Event(
        event=ALIVE_EVENT,
        resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run_id}"}),
        related=[RelatedResource({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"})],
    )


_guards: list[int] = []  # write ends of their pipes


def _start_guard() -> None:
    """Start the process that reports this process's runs as crashed if it ends without saying that it has finished."""
    if _guards:
        return
    reading, writing = os.pipe()
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    # In a session of its own, which no signal to this process's group or session reaches.
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", _GUARD, own_process()],
        {**os.environ, **settings},
        file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0), *quiet],
        setsid=True,
    )
    os.close(reading)
    os.waitpid(child, 0)
    _guards.append(writing)
    atexit.register(_dismiss_guard)


def _dismiss_guard() -> None:
    while _guards:
        with contextlib.suppress(OSError):  # it has ended
            os.write(_guards[-1], FINISHED)
        os.close(_guards.pop())
