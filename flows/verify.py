"""The flow `verify`: read every byte of a store, or of a sample of its shards, and report damage."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from reeldex.flows.config.forms import Form
from reeldex.flows.extraction.report import damage_rows
from reeldex.flows.extraction.verification import StoreUnsoundError, verify_store, what_was_read
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.runs.artifacts import publish_table
from reeldex.flows.runs.as_flow_run import report_of
from reeldex.flows.runs.form_fields import ExistingStore
from reeldex.flows.runs.form_flow import form_flow
from reeldex.flows.runs.names import verify_run_name
from reeldex.flows.runs.progress_artifact import progress_artifact
from reeldex.flows.runs.store_artifact import publish_store
from reeldex.storage.store import FeatureStore
from reeldex.storage.verify_report import VerifyReport

log = logging.getLogger(__name__)

DESCRIPTION = """\
**Read every byte** of a store, or of a sample of its shards, and compare it with the recorded checksums.

1. *Store*: the folder of features.
2. *Set aside damaged records*: rename damaged records of forgotten videos, removed spaces and searches, without which
   the store works again.
3. *Sample*: of a large store, read only a share of the shards (`1%`) or a number of them (`50`); the rest is not
   checked. Another *seed of the sample* reads others. Press **Submit**.

A store without damage ends as *Completed*. Damage ends as *Failed*, with a table of the files and remedies in the
*Artifacts* tab; **rerun-failed** extracts damaged shards again. Files that cannot be read (permissions, disk errors)
end as *Failed* too; they are not known to be damaged.
"""


FORM = Form("verify", (), (), former={})


@form_flow(FORM, description=DESCRIPTION, run_name=verify_run_name)
def verify(
    *,
    store: ExistingStore,
    set_aside_records: Annotated[
        bool,
        Field(
            title="Set aside damaged records",
            description="Rename damaged records beside the shards (forgotten.json, removed.json, searches.json), and "
            "continue without them.",
        ),
    ] = False,
    sample: Annotated[
        str,
        Field(
            title="Sample",
            description="Share of the shards (1%) or number of them (50) to read; empty: all. The rest is not checked.",
        ),
    ] = "",
    seed: Annotated[
        int, Field(title="Seed of the sample", description="The same seed reads the same shards again.")
    ] = 0,
) -> State[Any]:
    """Read every byte of a store, or of a sample of its shards, and report damage."""
    return _verify(FeatureStore(store), set_aside_records=set_aside_records, sample=sample, seed=seed)


def verify_as_flow_run(
    store: FeatureStore, *, set_aside_records: bool = False, sample: str = "", seed: int = 0
) -> VerifyReport:
    """Create a flow run that verifies a store, and return its report, also for a damaged store."""
    with progress_bar():
        try:
            return report_of(
                VerifyReport,
                verify,
                store=str(store.path),
                set_aside_records=set_aside_records,
                sample=sample,
                seed=seed,
            )
        except StoreUnsoundError as unsound:
            return unsound.report


def _verify(store: FeatureStore, *, set_aside_records: bool, sample: str, seed: int) -> State[Any]:
    with progress_artifact("Reading the store"):
        report = verify_store(store, set_aside_records=set_aside_records, sample=sample, seed=seed)
    publish_store(store)
    if report.sound:
        message = f"No damage found: {what_was_read(report)}."
        log.info("%s", message)
        return Completed(message=message, data=report)
    unsound = StoreUnsoundError(report)
    log.error("%s", unsound)
    title = f"Damages: {len(report.damages):,}"
    if report.unreadable:
        title += f"; cannot be read: {len(report.unreadable):,}"
    publish_table(damage_rows(report), title)
    return Failed(message=f"{unsound} The table in the artifacts lists the remedies.", data=unsound)
