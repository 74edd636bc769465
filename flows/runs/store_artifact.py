"""The artifact of a store, with a key: the UI shows its versions, one per run, as the history of the store."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.runtime import flow_run

from reeldex.flows.extraction.store_history import RunEnd, is_page_of, store_key, store_page, store_sentence
from reeldex.flows.runs.artifacts import can_be_seen, publish_markdown, server_errors_logged
from reeldex.storage.errors import StoreError

if TYPE_CHECKING:
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)


def publish_store(store: FeatureStore, seconds_of_video: float = 0.0, seconds_of_work: float = 0.0) -> None:
    """Publish the state of a store after a run, which extracted this much video in this much time.

    A store that cannot be read, and a server error, are logged: the run has reported what it did.
    """
    if not can_be_seen():
        return
    try:
        status = store.status()
    except (StoreError, OSError) as error:
        log.warning("The state of the store could not be published: %s", error)
        return
    run = RunEnd(flow_run.name or "", datetime.now().astimezone(), seconds_of_video, seconds_of_work)
    with server_errors_logged("The artifact of the store could not be created"):
        key = store_key(store.path)
        before = _latest(key)
        if before and not is_page_of(store.path, before):
            key = store_key(store.path, taken=True)
            before = _latest(key)
        description = f"Store {store.path.name}: {store_sentence(status, run)}"
        publish_markdown(store_page(store.path, status, run, before), description, key)


def _latest(key: str) -> str:
    """Return the latest page with this key, empty if there is none."""
    with get_client(sync_client=True) as client:
        found = client.read_latest_artifacts(
            artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
        )
    return str(found[0].data or "") if found else ""
