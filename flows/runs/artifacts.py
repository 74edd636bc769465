"""What a run shows in the Prefect UI besides its log: progress, a summary, failed videos, pictures.

None has a key: a card with one leads to the history of that key over all runs, one without straight to its content.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import httpx
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.settings import get_current_settings

from reeldex.extractors.errors import ExtractionError
from reeldex.extractors.options import DecodeLimits
from reeldex.extractors.thumbnail import thumbnail
from reeldex.flows.extraction.report import MOST_FAILURES_LISTED, Picture, contact_sheet, failure_rows, summary
from reeldex.flows.progress.progress import WorkRate, both, duration, listener, listening
from reeldex.flows.server.temporary_server import is_temporary

if TYPE_CHECKING:
    from uuid import UUID

    from reeldex.flows.extraction.run_report import RunReport
    from reeldex.storage.schema import VideoOutcome
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

_UPDATE_SECONDS = 5.0
_PICTURES = 12
_PICTURES_SECONDS = 20.0  # spent on pictures at most; they are worth no more


@contextmanager
def server_errors_logged(what: str) -> Iterator[None]:
    """Log a server error in the block as a warning that begins with `what`, and go on after the block.

    For what people look at: it is worth no run.
    """
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("%s: %s", what, error)


def can_be_seen() -> bool:
    """Whether this run has a server that somebody can look at, now or later."""
    api_url = get_current_settings().api.url
    return FlowRunContext.get() is not None and api_url is not None and not is_temporary(api_url)


class ProgressArtifact:
    """Progress of the present run in the UI. A server that does not take it is told of in the log."""

    def __init__(self, description: str) -> None:
        self._id: UUID | None = None
        with server_errors_logged("The server shows no progress of this run"):
            # Awaitable only in asynchronous code.
            self._id = cast("UUID", create_progress_artifact(0.0, description=f"Progress: {description}"))

    def update(self, percent: float, description: str) -> None:
        """Tell the server."""
        if self._id is None:
            return
        with server_errors_logged("The server did not take progress"), get_client(sync_client=True) as client:
            client.update_artifact(self._id, ArtifactUpdate(data=percent, description=f"Progress: {description}"))


@contextmanager
def progress_shown(videos: int) -> Iterator[None]:
    """Show in the UI how many of `videos` are done while the block runs."""
    if not can_be_seen() or not videos:
        yield
        return
    shown = _Progress(videos)
    with listening(both(listener(), shown)):
        try:
            yield
        finally:
            shown.update(force=True)


class _Progress:
    """A listener that keeps a progress artifact up to date."""

    def __init__(self, videos: int) -> None:
        self._videos = videos
        self._lock = threading.RLock()  # events come from the threads of several tasks
        self._updated = time.monotonic()
        self._rate = WorkRate()
        self._finished = self._failed = 0
        self._done: dict[int, int] = {}  # videos of each shard that need no more work
        self._seconds = 0.0
        self._artifact = ProgressArtifact(str(self))

    def __str__(self) -> str:
        done = self._done_in_all()
        text = f"{done:,} of {self._videos:,} videos done, {self._failed:,} failed, "
        text += f"{self._rate.per_second(self._seconds):,.1f} s of video per second"
        left = self._rate.seconds_left(self._finished, self._videos - done)
        return text + (f", about {duration(left)} left" if left else "")

    def started(self, shard: int) -> None:
        self._rate.started(shard)

    def stopped(self, shard: int) -> None:
        self._rate.stopped(shard)

    def planned(self, shard: int, videos: int, of: int) -> None:
        with self._lock:
            self._done[shard] = of - videos  # anew, if the shard is tried again
        self.update()

    def decoded(self, seconds: float) -> None:
        with self._lock:
            self._seconds += seconds
        self.update()

    def finished(self, shard: int, outcome: VideoOutcome) -> None:
        with self._lock:
            self._done[shard] += 1
            self._finished += 1
            self._failed += outcome.status == "failed"
        self.update()

    def _done_in_all(self) -> int:
        with self._lock:
            return sum(self._done.values())

    def update(self, *, force: bool = False) -> None:
        """Tell the server, if the last time is long ago."""
        with self._lock:
            now = time.monotonic()
            if now - self._updated < _UPDATE_SECONDS and not force:
                return
            self._updated = now
        self._artifact.update(100.0 * min(1.0, self._done_in_all() / self._videos), str(self))


def publish_report(
    store: FeatureStore,
    report: RunReport,
    shards: Sequence[int],
    outcomes: Sequence[VideoOutcome],
    limits: DecodeLimits,
) -> None:
    """Publish the summary of a run, a table of the failures among `outcomes`, and pictures out of `shards`.

    `limits` are those of ffmpeg, which makes the pictures.
    """
    if not can_be_seen():
        return
    with server_errors_logged("The server did not take the report on this run"):
        create_markdown_artifact(summary(report), description=f"Summary: {report}")
        failures = failure_rows(outcomes)
        if failures:
            total = sum(1 for each in outcomes if each.reason)
            said = f"Failed videos: {total:,}, with those that are truncated"
            if total > MOST_FAILURES_LISTED:
                said += f"; the first {MOST_FAILURES_LISTED:,}. All: reeldex status {report.store} --failures"
            create_table_artifact(failures, description=said)
        pictures = list(pictures_of(store, shards, limits))
        if pictures:
            create_markdown_artifact(contact_sheet(pictures), description=f"Pictures: {len(pictures)} of the videos")


def publish_table(rows: list[dict[str, Any]], description: str) -> None:
    """Publish a table, if there is anybody to see it. A server that does not take it is told of in the log."""
    if can_be_seen():
        with server_errors_logged(f"The server did not take the table {description!r}"):
            create_table_artifact(rows, description=description)


def pictures_of(store: FeatureStore, shards: Sequence[int], limits: DecodeLimits) -> Iterator[Picture]:
    """Return a picture of some videos of these shards, made by ffmpeg within `limits`; none of a video that fails."""
    deadline = time.monotonic() + _PICTURES_SECONDS
    for outcome in _spread(store, shards):
        at_seconds = (outcome.duration_seconds or 0.0) / 2
        if time.monotonic() > deadline:
            return
        try:
            yield Picture(outcome.video_id, at_seconds, thumbnail(outcome.path, at_seconds, limits=limits))
        except ExtractionError as error:
            log.info("No picture of %s: %s", outcome.video_id, error)


def _spread(store: FeatureStore, shards: Sequence[int]) -> list[VideoOutcome]:
    """Return some videos with features, spread evenly over the shards and within them."""
    chosen: list[VideoOutcome] = []
    some = shards[:: max(1, len(shards) // _PICTURES)][:_PICTURES]
    for number, shard in enumerate(some):
        outcomes = store.outcomes(shard)
        ok = [each for each in outcomes.videos if each.status == "ok"] if outcomes is not None else []
        share = -(-(_PICTURES - len(chosen)) // (len(some) - number))
        chosen += ok[:: max(1, len(ok) // share)][:share]
    return chosen
