"""Deletes old flow runs of reeldex from a Prefect server, with their logs and artifacts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.exceptions import ObjectNotFound

from reeldex.flows.runs.names import TAG

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

_PAGE = 200  # the most that the server returns at once


def delete_old_runs(days: float) -> int:
    """Delete the runs that ended more than `days` ago, with their task runs, logs and artifacts; return their number.

    Uses the server's API, and so works on every server. Runs without our tag are left alone.
    """
    filters = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime.model_validate({"before_": datetime.now(UTC) - timedelta(days=days)}),
    )
    deleted = 0
    with get_client(sync_client=True) as client:
        while found := client.read_flow_runs(flow_run_filter=filters, limit=_PAGE):
            gone = sum(_delete(client, run.id) for run in found)
            deleted += gone
            if not gone:  # another host deletes the same ones
                break
    return deleted


def _delete(client: SyncPrefectClient, run_id: UUID) -> bool:
    """Delete a run; whether it still existed. The server deletes its logs, and not its artifacts."""
    artifacts = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
    try:
        while found := client.read_artifacts(artifact_filter=artifacts, limit=_PAGE):
            for artifact in found:
                client.delete_artifact(artifact.id)
        client.delete_flow_run(run_id)
    except ObjectNotFound:
        return False
    return True
