"""Marks runs whose process is gone as crashed, and what they left running, so that they can be retried.

Each host judges its own processes: a label of the run names the process, and the name of the worker that took it the
worker's. A host that is silent is judged by the server (`server/automations.py`).
"""

from __future__ import annotations

import re
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from reeldex.flows.runs.names import TAG
from reeldex.storage.process_id import is_alive, own_process

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

_HOST, _PROCESS, _STATE, _WORKER = "reeldex.host", "reeldex.process", "reeldex.running", "prefect.worker.name"
_GOING_ON = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_UNFINISHED = [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.PAUSED]
_LOOK_SECONDS = 0.3
_PAGE = 200  # the most that the server returns at once
# A worker that cancels a run needs a while to end its process and to say so.
_CANCEL_SECONDS = 60.0
_TAKING_SECONDS = 10.0
# The server stores the states of tasks with a delay; until then one may only seem to be unfinished.
_TASK_DELAY_SECONDS = 45.0
_WORKER_NAME = re.compile(r"(?P<host>.*) \((?P<process>\d+@\d+)\)")


def worker_name(process: str) -> str:
    """Return the name of a worker in a process of this host, from which both can be told."""
    return f"{socket.gethostname()} ({process})"


def label_process(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    """Record on a flow run that it is running in this process, and with which state it is."""
    state = str(client.read_flow_run(flow_run_id).state_id)
    labels: dict[str, Any] = {_HOST: socket.gethostname(), _PROCESS: own_process(), _STATE: state}
    client.update_flow_run_labels(flow_run_id, labels)


def is_own(run: FlowRun) -> bool:
    """Whether a flow run was last recorded as running in this process."""
    return run.labels.get(_HOST) == socket.gethostname() and run.labels.get(_PROCESS) == own_process()


def crash_lost_runs(message: str, process: str | None = None) -> int:
    """Mark runs of this host whose process is gone as crashed, with a message; return their number.

    Also runs that a worker of this host had taken but not started when it ended. Runs that wait, are queued or await a
    retry have no process and are left alone. A run that was being cancelled is cancelled, once its worker has had time
    to say so. `process`: only runs of that process.
    """
    with get_client(sync_client=True) as client:
        lost = [run for run in _going_on(client, process) if _is_lost(run)]
        return sum(_end(client, run, message) for run in lost)


def crash_runs_of_worker(worker: str, message: str, patience_seconds: float) -> int:
    """Mark the runs of a worker of this host that has ended as crashed; return their number.

    Waits for their processes, which notice that their worker has ended, for at most `patience_seconds`.
    """
    deadline = time.monotonic() + patience_seconds
    lost = 0
    while True:
        lost += crash_lost_runs(message)
        with get_client(sync_client=True) as client:
            left = [run for run in _going_on(client, None) if run.labels.get(_WORKER) == worker]
        if not left or time.monotonic() > deadline:
            return lost
        time.sleep(_LOOK_SECONDS)


def has_runs(process: str) -> bool:
    """Whether the server has runs of a process that have not ended."""
    with get_client(sync_client=True) as client:
        return bool(_going_on(client, process))


def crash_unfinished_tasks() -> int:
    """Mark task runs as crashed whose flow run has ended a while ago; return their number.

    A killed process cannot report what becomes of its tasks.
    """
    before = datetime.now(UTC) - timedelta(seconds=_TASK_DELAY_SECONDS)
    ended = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime.model_validate({"before_": before}),
    )
    with get_client(sync_client=True) as client:
        return _crash_tasks(client, ended, "Its flow run has ended without it.")


def crash_tasks_of(flow_run_id: UUID, message: str) -> int:
    """Mark all task runs of a flow run that have not ended as crashed; return their number."""
    with get_client(sync_client=True) as client:
        return _crash_tasks(client, FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])), message)


def _going_on(client: SyncPrefectClient, process: str | None) -> list[FlowRun]:
    filters = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]), state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_GOING_ON))
    )
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=filters, limit=_PAGE, offset=len(found)):
        found += page
        if len(page) < _PAGE:
            break
    return [run for run in found if process is None or run.labels.get(_PROCESS) == process]


def _is_lost(run: FlowRun) -> bool:
    labels = {name: str(value) for name, value in run.labels.items()}
    state = run.state
    if state is None:
        return False
    if state.type is StateType.CANCELLING and datetime.now(UTC) - state.timestamp < timedelta(seconds=_CANCEL_SECONDS):
        return False
    # A retry starts with the labels of the earlier attempt, whose process is gone.
    of_this_attempt = state.type is not StateType.PENDING and (
        state.name != "Running" or labels.get(_STATE, str(state.id)) == str(state.id)
    )
    if of_this_attempt and _PROCESS in labels:
        return labels.get(_HOST) == socket.gethostname() and not is_alive(labels[_PROCESS])
    # A worker names itself on a run after it has taken it: until then, the name may be that of an earlier, dead worker.
    if state.type is StateType.PENDING and datetime.now(UTC) - state.timestamp < timedelta(seconds=_TAKING_SECONDS):
        return False
    worker = _WORKER_NAME.fullmatch(labels.get(_WORKER, ""))
    return worker is not None and worker["host"] == socket.gethostname() and not is_alive(worker["process"])


def _end(client: SyncPrefectClient, seen: FlowRun, message: str) -> bool:
    """Set the final state of a lost run, unless its state has changed since its process was seen to be gone."""
    try:
        run = client.read_flow_run(seen.id)
        if run.state_id != seen.state_id or run.labels.get(_PROCESS) != seen.labels.get(_PROCESS):
            return False
        final = Cancelled if run.state_type is StateType.CANCELLING else Crashed
        client.set_flow_run_state(run.id, final(message=message), force=True)
    except ObjectNotFound:  # deleted meanwhile
        return False
    return True


def _crash_tasks(client: SyncPrefectClient, flow_runs: FlowRunFilter, message: str) -> int:
    unfinished = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNFINISHED)))
    found = client.read_task_runs(flow_run_filter=flow_runs, task_run_filter=unfinished, limit=_PAGE)
    for run in found:
        client.set_task_run_state(run.id, Crashed(message=message), force=True)
    return len(found)
