"""Which runs are lost, as far as their states and labels say; on a real server: tests/system/test_own_server.py."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from reeldex.flows.runs.lost_runs import _is_lost, worker_name
from reeldex.storage.process_id import own_process

GONE = "4194304@1"


@pytest.mark.parametrize(
    ("worker", "seconds_ago", "lost"),
    [
        (GONE, 60, True),
        # The name of an earlier worker, until the one that has taken the run has put its own.
        (GONE, 1, False),
        (None, 60, False),
    ],
    ids=["dead worker", "taken a moment ago", "living worker"],
)
def test_a_run_that_was_taken_is_lost_with_its_worker(worker: str | None, seconds_ago: float, lost: bool) -> None:  # noqa: FBT001 - a table
    state = State(type=StateType.PENDING, timestamp=datetime.now(UTC) - timedelta(seconds=seconds_ago))
    name = worker_name(worker or own_process())
    run = FlowRun(id=uuid4(), flow_id=uuid4(), state=state, labels={"prefect.worker.name": name})
    assert socket.gethostname() in name
    assert _is_lost(run) is lost
