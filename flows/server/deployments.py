"""Deployments of the flows with the settings and schedules of `pipeline.yaml`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.schedules import Cron, Interval
from prefect.types.entrypoint import EntrypointType

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import ScheduleConfig
from reeldex.flows.evaluate import evaluate
from reeldex.flows.extract import extract
from reeldex.flows.index import index
from reeldex.flows.pipeline import pipeline
from reeldex.flows.rerun import rerun
from reeldex.flows.runs.names import SCHEDULED_TAG, TAG, WORK_POOL
from reeldex.flows.train import train
from reeldex.flows.verify import verify

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.schedules import Schedule

    from reeldex.flows.config.pipeline import PipelineConfig
    from reeldex.flows.runs.form_flow import FormFlow


def deployments(config: PipelineConfig, job_variables: Mapping[str, Any]) -> list[RunnerDeployment]:
    """Return the deployments for `config`: one per flow, and one per schedule. Registers nothing.

    `job_variables` are those of the work pool, which start a run.
    """

    def offer(flow: FormFlow, name: str, filled: PipelineConfig = config, **more: Any) -> RunnerDeployment:  # noqa: ANN401 - fields of a deployment
        return RunnerDeployment.from_flow(
            flow,
            name,
            parameters={**flow.form.parameters(filled), **more.pop("parameters", {})},
            tags=[TAG, *more.pop("tags", ())],
            version=importlib.metadata.version("reeldex"),
            work_pool_name=WORK_POOL,
            job_variables=dict(job_variables),
            entrypoint_type=EntrypointType.MODULE_PATH,
            **more,
        )

    offers = [
        offer(extract, "extract"),
        offer(rerun, "rerun-failed"),
        offer(verify, "verify"),
        offer(train, "train"),
        offer(evaluate, "evaluate"),
        offer(index, "index"),
        offer(pipeline, "pipeline"),
    ]
    for schedule in config.schedules:
        settled = config.extract.model_copy(update={"settle_seconds": schedule.settle_seconds})
        parameters = {
            "source": schedule.located_source,
            "store": str(schedule.store.absolute()),
            "when_busy": schedule.when_busy.value,
        }
        offers.append(
            offer(
                extract,
                schedule.name,
                config.model_copy(update={"extract": settled}),
                parameters=parameters,
                tags=[SCHEDULED_TAG],
                schedules=[_schedule(schedule)],
                description=f"From `{schedule.source}` into `{schedule.store}`.\n\n{extract.description}",
            )
        )
    return offers


def _schedule(schedule: ScheduleConfig) -> Schedule:
    more: dict[str, Any] = {"slug": _slug(schedule), "active": schedule.active}
    if schedule.cron is not None:
        try:
            rhythm = Cron(schedule.cron, timezone=schedule.timezone or "UTC", **more)
            CronSchedule(cron=schedule.cron)  # which checks the fields
        except ValueError as error:
            raise UsageError(
                f"the schedule {schedule.name!r}: {schedule.cron!r} is not a cron expression, as '0 2 * * *' ({error})."
            ) from error
        return rhythm
    return Interval(timedelta(seconds=schedule.interval_seconds or 0.0), **more)


def _slug(schedule: ScheduleConfig) -> str:
    """Return a slug that changes with the schedule, so that a later registration can compare them."""
    rhythm = schedule.model_dump_json(include={"cron", "interval_seconds", "timezone", "active"})
    name = re.sub(r"[^a-z0-9]+", "-", schedule.name.lower()).strip("-") or "schedule"
    return f"{name}-{hashlib.sha256(rhythm.encode()).hexdigest()[:8]}"


def register(offers: Sequence[RunnerDeployment], job_template: dict[str, Any] | None = None) -> None:
    """Register these deployments on the server, with a process work pool that is created if absent.

    `job_template` defines how the pool starts runs; without one, an existing pool is not changed.

    A schedule that was edited or paused in the UI is kept, unless it has changed in `pipeline.yaml` since it was
    registered; so are job variables that we do not set, unless a `job_template` allows none. Scheduled deployments that
    `pipeline.yaml` no longer contains are removed.
    """
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        if job_template is not None:
            client.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=job_template))
        for offer in offers:
            known = _known(offer.full_name)
            if known is not None:
                _leave_alone(offer, "paused")
                if job_template is None:
                    # Such as an environment with credentials from blocks.
                    offer.job_variables = {**known.job_variables, **offer.job_variables}
                if offer.schedules and offer.schedules[0].slug in {schedule.slug for schedule in known.schedules}:
                    offer.schedules = None
                    _leave_alone(offer, "schedules")
            offer.apply()
        names = {offer.name for offer in offers}
        filters = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG, SCHEDULED_TAG]))
        for deployment in client.read_deployments(deployment_filter=filters):
            if deployment.name not in names:
                client.delete_deployment(deployment.id)


def _known(full_name: str) -> DeploymentResponse | None:
    with get_client(sync_client=True) as client:
        try:
            return client.read_deployment_by_name(full_name)
        except ObjectNotFound:
            return None


def _leave_alone(offer: RunnerDeployment, field: str) -> None:
    # An update sends only fields that are set; a sent field overwrites changes made in the UI.
    offer.model_fields_set.discard(field)
