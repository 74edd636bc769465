"""Marks runs whose process has died as crashed, so that they can be retried."""

from __future__ import annotations

import logging
import os
import socket
from datetime import timedelta
from pathlib import Path

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.runtime import flow_run as this_run
from prefect.states import Crashed

from reeldex.flows.runs.artifacts import server_errors_logged
from reeldex.flows.runs.names import TAG

log = logging.getLogger(__name__)

# The shortest interval that Prefect allows; a run counts as lost after three missed heartbeats.
HEARTBEAT_SECONDS = 30
_LOST_AFTER_SECONDS = 3 * HEARTBEAT_SECONDS
_AUTOMATION = "reeldex: a run that gives no sign of life is crashed"
_HOST, _PROCESS = "reeldex.host", "reeldex.process"


def mark_process() -> None:
    """Record this process on the current flow run. A server error is logged."""
    with (
        server_errors_logged("The process of this run could not be recorded on the server"),
        get_client(sync_client=True) as client,
    ):
        client.update_flow_run_labels(this_run.id, {_HOST: socket.gethostname(), _PROCESS: _process(os.getpid())})


def crash_lost_runs(message: str, *, waiting_too: bool = False) -> int:
    """Mark runs of this machine whose process has died as crashed, with a message; return their number.

    `waiting_too`: also runs that this machine's worker had taken but not started, because the worker has died.
    """
    going_on = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    filters = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]), state=FlowRunFilterState(type=FlowRunFilterStateType(any_=going_on))
    )
    lost = 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=filters):
            if _is_lost(run) or (waiting_too and _waits_here(run)):
                client.set_flow_run_state(run.id, Crashed(message=message), force=True)
                lost += 1
    return lost


def _is_lost(run: FlowRun) -> bool:
    if run.labels.get(_HOST) != socket.gethostname():
        return False
    process = str(run.labels.get(_PROCESS))
    return _process(int(process.partition("@")[0])) != process


def _waits_here(run: FlowRun) -> bool:
    return run.labels.get("prefect.worker.name") == socket.gethostname() and _PROCESS not in run.labels


def _process(process_id: int) -> str:
    """Return an identifier of a process that is not reused: `id@start`, with the start time in clock ticks."""
    try:
        # Field 22 of proc(5); the second field, in parentheses, may contain spaces.
        after_name = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        return f"{process_id}@{after_name.split()[19]}"
    except FileNotFoundError:
        return f"{process_id}@gone"


def watch_heartbeats() -> None:
    """Have the server mark a run as crashed when its heartbeats stop, for example after a machine failure."""
    ended = ("Completed", "Failed", "Cancelled", "Cancelling", "Crashed", "Paused")
    with get_client(sync_client=True) as client:
        if client.read_automations_by_name(_AUTOMATION):
            return
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        # Other flows of the server may send heartbeats at another rate, or none.
        match_related={"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"},
        for_each={"prefect.resource.id"},
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in ended)},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=_LOST_AFTER_SECONDS),
    )
    message = f"No heartbeat for {_LOST_AFTER_SECONDS} seconds: its process or machine has died. Retry continues it."
    Automation(
        name=_AUTOMATION,
        description="Made by `reeldex up`. The run can then be retried; finished work is kept.",
        trigger=trigger,
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)],
    ).create()
