"""Sends the event of a scheduled run's first state, for which the server lets all later ones wait.

Prefect's scheduler creates runs without an event for their state Scheduled. When a run starts within five minutes of
that, the server makes the event of its next state follow the one that was never sent, and handles neither it nor those
after it for 15 minutes: automations learn neither that the run has started nor that it has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from prefect.events import Event

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State


def send_missing_state_event(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    """Send the event of the first state of a run that a schedule has created, unless the server has it."""
    run = client.read_flow_run(flow_run_id)
    if not run.auto_scheduled:
        return
    first = min(client.read_flow_run_states(flow_run_id), key=lambda state: state.timestamp)
    if not _is_known(client, first):
        event = _event(first, flow_run_id, run.name)
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()


def _is_known(client: SyncPrefectClient, state: State) -> bool:
    wanted = {"filter": {"id": {"id": [str(state.id)]}}, "limit": 1}
    return bool(client.request("POST", "/events/filter", json=wanted).raise_for_status().json()["total"])


def _event(state: State, flow_run_id: UUID, run: str) -> Event:
    # The id of a state is that of its event: by it, the server finds what waits.
    resource = {
        "prefect.resource.id": f"prefect.flow-run.{flow_run_id}",
        "prefect.resource.name": run,
        "prefect.state-name": state.name or "",
        "prefect.state-type": state.type.value,
        "prefect.state-timestamp": state.timestamp.isoformat(),
    }
    event = {
        "id": state.id,
        "occurred": state.timestamp,
        "event": f"prefect.flow-run.{state.name}",
        "resource": resource,
    }
    return Event.model_validate(event)
