"""The automations by which the server itself marks the runs of a silent host as crashed.

Hosts judge their own processes (`runs/lost_runs.py`); these are for a host that no longer can. They have two steps,
since the server cannot tell a silent host from its own downtime: events that it has missed are overdue when it starts
again. The first step announces the silence as a state of type Running, which the server records while it works; only
silence after that ends the run. A process that is alive corrects the state with its next event.

A state of a run other than Running, such as AwaitingRetry, ends the waiting for events: what an earlier attempt has
left behind does not concern a retry.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from reeldex.flows.runs.names import TAG
from reeldex.flows.runs.signs_of_life import ALIVE_EVENT, ALIVE_SECONDS, NOT_RESPONDING, SILENT

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

# Of each of the two steps. Four events may be missed.
STEP_SECONDS = 4 * ALIVE_SECONDS
_STATES = "prefect.flow-run.*"
_MINUTES = round(2 * STEP_SECONDS / 60)
# Names of earlier releases, whose triggers fired for runs that were alive.
_FORMER = ("reeldex: a run that gives no sign of life is crashed",)


def automations() -> tuple[AutomationCore, ...]:
    """Return the automations, in the order of their steps."""
    return (
        AutomationCore(
            name="reeldex: a run whose host is silent is not responding",
            description=f"First step: no sign of life for {STEP_SECONDS:.0f} seconds. The run can still come back.",
            trigger=_silence({ALIVE_EVENT, "prefect.flow-run.Running"}),
            actions=[
                ChangeFlowRunState(
                    name=NOT_RESPONDING,
                    state=StateType.RUNNING,
                    message=f"No sign of life for {STEP_SECONDS:.0f} seconds. If the process is alive, it will report.",
                    force=False,
                )
            ],
        ),
        AutomationCore(
            name="reeldex: a run whose host stays silent is crashed",
            description="Second step: the run can then be retried; finished work is kept.",
            trigger=_silence({f"prefect.flow-run.{NOT_RESPONDING}"}),
            actions=[
                ChangeFlowRunState(
                    name=None,
                    state=StateType.CRASHED,
                    message=f"{SILENT} for {_MINUTES} minutes: its host is down or cannot reach this server. Retry "
                    "continues where it stopped.",
                    force=False,
                )
            ],
        ),
    )


def _silence(after: set[str]) -> EventTrigger:
    return EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"},
        for_each={"prefect.resource.id"},
        after=after,
        expect={ALIVE_EVENT, _STATES},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=STEP_SECONDS),
    )


def register_automations() -> None:
    """Create the automations on the configured server, or update those that exist; one that is paused stays so."""
    with get_client(sync_client=True) as client:
        for name in _FORMER:
            for former in client.read_automations_by_name(name):
                client.delete_automation(former.id)
        for automation in automations():
            register_automation(client, automation)


def register_automation(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Create an automation, or update the one of its name; one that is paused stays so."""
    known = client.read_automations_by_name(automation.name)
    if not known:
        client.create_automation(automation)
    for number, each in enumerate(known):
        if number:  # two hosts have registered it at once
            client.delete_automation(each.id)
        else:
            client.update_automation(each.id, automation.model_copy(update={"enabled": each.enabled}))
