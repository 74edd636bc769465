"""Artifacts of a run in the Prefect UI: a summary, failed videos, pictures.

They have no key: a card with a key links to the history of that key over all runs, a card without to its content.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.settings import get_current_settings

from reeldex.extractors.errors import ExtractionError
from reeldex.extractors.options import DecodeLimits, DecodeOptions
from reeldex.extractors.thumbnail import thumbnail
from reeldex.flows.extraction.markdown import table
from reeldex.flows.extraction.report import Picture, contact_sheet, failure_rows, summary
from reeldex.flows.runs.form_words import in_form_words
from reeldex.remote_urls import is_url
from reeldex.storage.errors import StoreError

if TYPE_CHECKING:
    from reeldex.flows.extraction.run_report import RunReport
    from reeldex.storage.schema import VideoOutcome
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

_PICTURES = 12
_PICTURES_SECONDS = 20.0  # maximum time spent on pictures, which are optional


@contextmanager
def server_errors_logged(what: str) -> Iterator[None]:
    """Log a server error in the block as a warning that begins with `what`, and continue after the block.

    For output that only people read: it must not fail a run.
    """
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("%s: %s", what, error)


def can_be_seen() -> bool:
    """Whether this is a flow run on a server with a UI, not on a temporary one."""
    return FlowRunContext.get() is not None and get_current_settings().api.url is not None


def publish_report(
    store: FeatureStore, report: RunReport, shards: Sequence[int], limits: DecodeLimits, decode: DecodeOptions
) -> None:
    """Publish the summary of a run, a table of the failed videos, and pictures of videos in `shards`.

    `limits` are those of ffmpeg when it extracts the pictures, `decode` says of which track.
    """
    if not can_be_seen():
        return
    with server_errors_logged("The report artifact of this run could not be created"):
        create_markdown_artifact(in_form_words(summary(report)), description=f"Summary: {report}")
        if report.problems:
            said = f"Failed videos: {report.problem_count:,}, including truncated ones and those with notes"
            if report.problem_count > len(report.problems):
                said += f"; the first {len(report.problems):,}. All: reeldex status {report.store} --failures"
            create_markdown_artifact(in_form_words(table(failure_rows(report.problems))), description=said)
        if pictures := _pictures(store, shards, limits, decode):
            create_markdown_artifact(contact_sheet(pictures), description=f"Pictures: {len(pictures)} of the videos")


def publish_table(rows: Sequence[Mapping[str, str]], description: str) -> None:
    """Publish a table, if the server has a UI. A server error is logged.

    As Markdown: the UI shows the cells of a table artifact on one line each, and cuts off the columns on the right.
    """
    publish_markdown(table(rows), description)


def publish_markdown(text: str, description: str, key: str | None = None) -> None:
    """Publish Markdown, if the server has a UI; with a `key`, as the next version of its artifact."""
    if can_be_seen():
        with server_errors_logged(f"The artifact {description!r} could not be created"):
            create_markdown_artifact(in_form_words(text), key=key, description=in_form_words(description))


def _pictures(store: FeatureStore, shards: Sequence[int], limits: DecodeLimits, decode: DecodeOptions) -> list[Picture]:
    """Return `pictures_of`, none if the store cannot be read any more: the run has reported what it did."""
    try:
        return list(pictures_of(store, shards, limits, decode))
    except (StoreError, OSError) as error:
        log.warning("No pictures of the videos: %s", error)
        return []


def pictures_of(
    store: FeatureStore,
    shards: Sequence[int],
    limits: DecodeLimits,
    decode: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
) -> Iterator[Picture]:
    """Yield pictures of some videos of these shards, extracted by ffmpeg within `limits`; failures are skipped.

    So are videos at URLs, of which no copy is kept.
    """
    deadline = time.monotonic() + _PICTURES_SECONDS
    for outcome, start_seconds in _spread(store, shards):
        if is_url(outcome.path):
            log.debug("No picture of %s: it is at a URL.", outcome.video_id)
            continue
        at_seconds = start_seconds + (outcome.duration_seconds or 0.0) / 2
        if time.monotonic() > deadline:
            return
        try:
            yield Picture(
                outcome.video_id, at_seconds, thumbnail(outcome.path, at_seconds, limits=limits, options=decode)
            )
        except ExtractionError as error:
            log.info("No picture of %s: %s", outcome.video_id, error)


def _spread(store: FeatureStore, shards: Sequence[int]) -> list[tuple[VideoOutcome, float]]:
    """Return some videos with features, and where each begins in its file, spread evenly over the shards."""
    chosen: list[tuple[VideoOutcome, float]] = []
    some = shards[:: max(1, len(shards) // _PICTURES)][:_PICTURES]
    for number, shard in enumerate(some):
        outcomes = store.outcomes(shard)
        pairs = zip(outcomes.videos, store.manifest(shard).videos, strict=True) if outcomes is not None else ()
        ok = [
            (outcome, entry.span.start_seconds if entry.span else 0.0)
            for outcome, entry in pairs
            if outcome.status == "ok"
        ]
        share = -(-(_PICTURES - len(chosen)) // (len(some) - number))
        chosen += ok[:: max(1, len(ok) // share)][:share]
    return chosen
