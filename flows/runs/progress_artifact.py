"""The progress of a run in the Prefect UI, and its end when the run ends without its process."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from prefect.artifacts import create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run as this_run

from reeldex.flows.progress.progress import shown_on
from reeldex.flows.runs.artifacts import can_be_seen, server_errors_logged
from reeldex.flows.runs.names import TAG

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import Artifact

    from reeldex.flows.progress.progress import Snapshot

_TIME_LEFT = re.compile(r", about [^,;]* left$")
_ENDED = "; ended"
_PROGRESS = ArtifactFilterType(any_=["progress"])
_RECENT_SECONDS = 86_400.0


class ArtifactSink:
    """Shows progress in the UI, as an artifact of the current run. A server error is logged."""

    every_seconds = 5.0
    shows_last = True

    def __init__(self, description: str) -> None:
        self._id: UUID | None = None
        with server_errors_logged("The progress artifact of this run could not be created"):
            # Awaitable only in asynchronous code.
            self._id = cast("UUID", create_progress_artifact(0.0, description=f"Progress: {description}"))

    def show(self, snapshot: Snapshot) -> None:
        """Update the artifact."""
        if self._id is None:
            return
        update = ArtifactUpdate(data=snapshot.percent, description=f"Progress: {snapshot.sentence}")
        with server_errors_logged("The progress artifact could not be updated"), get_client(sync_client=True) as client:
            client.update_artifact(self._id, update)


@contextmanager
def progress_artifact(description: str, *, wanted: bool = True) -> Iterator[None]:
    """Show the progress of the block's work in the UI; `description` is shown until there is any.

    The progress of an earlier attempt of the run is marked as ended.
    """
    if wanted and can_be_seen():
        end_progress(this_run.id)
        try:
            with shown_on(ArtifactSink(description)):
                yield
        except BaseException:
            end_progress(this_run.id)
            raise
    else:
        yield


def end_progress(run_id: UUID | str) -> None:
    """Mark the progress of a run as ended, without the estimated time left. A server error is logged."""
    ours = ArtifactFilter(type=_PROGRESS, flow_run_id=ArtifactFilterFlowRunId(any_=[cast("UUID", run_id)]))
    with (
        server_errors_logged("The progress of an ended attempt could not be marked as ended"),
        get_client(sync_client=True) as client,
    ):
        _end(client, client.read_artifacts(artifact_filter=ours))


def end_progress_of_lost_runs() -> None:
    """Mark the progress of runs that have recently crashed or been cancelled as ended: their process cannot."""
    since = datetime.now(UTC) - timedelta(seconds=_RECENT_SECONDS)
    lost = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED, StateType.CANCELLED])),
        end_time=FlowRunFilterEndTime.model_validate({"after_": since}),
    )
    with get_client(sync_client=True) as client:
        _end(client, client.read_artifacts(artifact_filter=ArtifactFilter(type=_PROGRESS), flow_run_filter=lost))


def _end(client: SyncPrefectClient, progress: Sequence[Artifact]) -> None:
    for artifact in progress:
        said = ended(artifact.description or "")
        if said != artifact.description:
            client.update_artifact(artifact.id, ArtifactUpdate(description=said))


def ended(description: str) -> str:
    """Return the description of progress after its end: without the time left, and marked as ended."""
    return description if description.endswith(_ENDED) else _TIME_LEFT.sub("", description) + _ENDED
