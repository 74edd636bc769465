"""Which runs are lost, as far as their states and labels say; on a real server: tests/system/test_own_server.py."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from reeldex.flows.runs import lost_runs
from reeldex.flows.runs.lost_runs import _is_lost, worker_name
from reeldex.storage.process_id import own_process

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

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


def test_no_lost_run_is_overlooked_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server returns 200 at once, which would take minutes to make.
    monkeypatch.setattr(lost_runs, "_PAGE", 2)
    for count in range(6):
        runs = [FlowRun(id=uuid4(), flow_id=uuid4(), labels={}) for _ in range(count)]

        class Server:
            def read_flow_runs(self, *, limit: int, offset: int, **_: object) -> list[FlowRun]:
                return runs[offset : offset + limit]  # noqa: B023 - used within the loop

        assert lost_runs._going_on(cast("SyncPrefectClient", Server()), None) == runs
