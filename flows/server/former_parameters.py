"""Parameters of a flow run that its flow does not have: of an earlier release, or never known.

A schedule that was made in the UI keeps its parameters, and Retry repeats those of its run. Prefect would end the
process of such a run without a word.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import flow_run_logger
from prefect.states import Failed

from reeldex.errors import UsageError
from reeldex.flows.runs.form_flow import FormFlow

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

# Of `reeldex up` or `deploy`, reeldex.flows.extract.extract; of prefect.yaml, flows/extract.py:extract.
_ENTRYPOINT = re.compile(r"\bflows[./](\w+)(?:\.py:|\.)(\w+)$", re.ASCII)


def take_former_parameters(run_id: UUID) -> bool:
    """Give a run the present names of its parameters; return False, with the run failed, if it has unknown ones."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
        flow = _flow_of(client, run)
        if flow is None or run.parameters.keys() <= flow.parameters.properties.keys():
            return True
        try:
            current = flow.form.current(run.parameters, flow.own)
        except UsageError as error:
            flow_run_logger(run).error("%s", error)
            client.set_flow_run_state(run.id, Failed(message=str(error)))
            return False
        flow_run_logger(run).warning(
            "Parameters of an earlier release are used as settings: %s.",
            ", ".join(sorted(run.parameters.keys() - current.keys())),
        )
        client.update_flow_run(run.id, parameters=current)
        return True


def _flow_of(client: SyncPrefectClient, run: FlowRun) -> FormFlow | None:
    """Return the flow of a run by the entrypoint of its deployment; None if it is not one of ours."""
    if run.deployment_id is None:
        return None
    try:
        entrypoint = client.read_deployment(run.deployment_id).entrypoint or ""
    except ObjectNotFound:
        return None
    named = _ENTRYPOINT.search(entrypoint)
    found = getattr(importlib.import_module(f"reeldex.flows.{named[1]}"), named[2], None) if named else None
    return found if isinstance(found, FormFlow) else None
