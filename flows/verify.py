"""The flow `verify`: read every byte of a store again and name what is damaged."""

from __future__ import annotations

import logging
import time
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from reeldex.flows.config.pipeline import NonEmpty
from reeldex.flows.extraction.report import damage_rows
from reeldex.flows.runs.artifacts import publish_table
from reeldex.flows.runs.names import verify_run_name
from reeldex.flows.runs.states import run_to_state
from reeldex.quantities import counted
from reeldex.storage.errors import StoreDamagedError, StoreError
from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

DESCRIPTION = """\
**Read every byte** of a store again and compare it with the checksums that were recorded.

1. *store*: the folder of features. Press **Submit**.

A sound store ends as *Completed*. Damage ends as *Failed*, with a table of the files and what to do about each in the
*Artifacts* tab; **rerun-failed** extracts damaged shards again. Files that the system does not let us read end as
*Failed* too; they are not known to be damaged.
"""

_LOG_EVERY_SECONDS = 30.0


@flow(name="verify", description=DESCRIPTION, flow_run_name=verify_run_name)
def verify(store: NonEmpty) -> State[Any]:
    """Read every byte of a store again and name what is damaged.

    Args:
        store: The folder of the feature store.
    """
    return run_to_state(lambda: _verify(FeatureStore(store)))


def _verify(store: FeatureStore) -> State[Any]:
    report = store.verify(_Progress())
    read = f"{report.checked_files:,} files, {report.checked_videos:,} videos, {report.checked_bytes:,} bytes read"
    if report.sound:
        log.info("All sound: %s", read)
        return Completed(message=f"All sound: {read}.", data=report)
    found = [f"{counted(len(report.damages), 'damage')} found"] if report.damages else []
    if report.unreadable:
        found.append(f"{counted(len(report.unreadable), 'file')} cannot be read")
    message = f"{', '.join(found)}: {read}. The table among the artifacts says what to do."
    log.error("%s", message)
    title = f"Damages: {len(report.damages):,}"
    if report.unreadable:
        title += f"; cannot be read: {len(report.unreadable):,}"
    publish_table(damage_rows(report), title)
    return Failed(message=message, data=StoreDamagedError(message) if report.damages else StoreError(message))


class _Progress:
    def __init__(self) -> None:
        self._last_line = time.monotonic()

    def __call__(self, checked: int, total: int) -> None:
        if time.monotonic() - self._last_line > _LOG_EVERY_SECONDS:
            self._last_line = time.monotonic()
            log.info("%d of %d files checked", checked, total)
