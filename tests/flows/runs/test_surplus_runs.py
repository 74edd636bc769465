"""Which runs of schedules are ended as Skipped when they pile up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect.client.schemas.objects import FlowRun

from reeldex.flows.runs.surplus_runs import surplus_runs

NIGHTLY, OFTEN = uuid4(), uuid4()


def _run(deployment: UUID, minute: int, **more: Any) -> FlowRun:  # noqa: ANN401 - fields of a run
    start = datetime(2026, 11, 26, 12, tzinfo=UTC) + timedelta(minutes=minute)
    given = {"flow_id": uuid4(), "deployment_id": deployment, "auto_scheduled": True, "expected_start_time": start}
    return FlowRun.model_validate({**given, **more})


def test_the_earliest_run_of_each_schedule_keeps_its_place() -> None:
    often = [_run(OFTEN, minute) for minute in (3, 1, 2)]
    nightly = [_run(NIGHTLY, 0)]
    assert surplus_runs([*often, *nightly]) == [often[2], often[0]]
    assert surplus_runs(nightly) == surplus_runs([]) == []


def test_runs_of_a_person_and_those_that_do_something_else_are_left_alone() -> None:
    launched = _run(OFTEN, 2, auto_scheduled=False)
    retried = _run(OFTEN, 3, run_count=1)
    other = _run(OFTEN, 4, parameters={"source": "elsewhere"})
    assert surplus_runs([_run(OFTEN, 1), launched, retried, other]) == []
