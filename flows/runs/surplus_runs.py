"""Runs of a schedule that pile up while the work pool has no place for them: one of each schedule may wait."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Completed

from reeldex.flows.runs.names import SCHEDULED_TAG, TAG

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

# A run that is due starts within seconds if there is a place for it.
_DUE_SECONDS = 20.0
_MESSAGE = "Skipped: an earlier run of this schedule still waits for a place in the work pool, and will do the same."


def skip_surplus_runs() -> int:
    """End all runs of each schedule that are due and have not started, but the earliest, as Skipped; return how many.

    Runs that a person has launched or retried are left alone.
    """
    due = {"before_": datetime.now(UTC) - timedelta(seconds=_DUE_SECONDS)}
    filters = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG, SCHEDULED_TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate(due),
    )
    with get_client(sync_client=True) as client:
        surplus = surplus_runs(client.read_flow_runs(flow_run_filter=filters))
        for run in surplus:
            client.set_flow_run_state(run.id, Completed(name="Skipped", message=_MESSAGE), force=True)
    return len(surplus)


def surplus_runs(due: list[FlowRun]) -> list[FlowRun]:
    """Return the runs that schedules have created, except the earliest of each deployment and set of parameters."""
    waiting = defaultdict(list)
    for run in due:
        if run.auto_scheduled and run.run_count == 0:
            waiting[run.deployment_id, repr(sorted(run.parameters.items()))].append(run)
    return [run for runs in waiting.values() for run in sorted(runs, key=_time)[1:]]


def _time(run: FlowRun) -> datetime:
    return run.expected_start_time or datetime.max.replace(tzinfo=UTC)
