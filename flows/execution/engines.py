"""The workers of each engine: `execution.engine` of the configuration."""

from __future__ import annotations

import functools

from reeldex.flows.config.execution import Engine, ExecutionConfig
from reeldex.flows.execution.jobs import OpenWorkers
from reeldex.flows.execution.worker_processes import worker_processes


def workers_of(execution: ExecutionConfig, name: str) -> OpenWorkers:
    """Return what opens the workers of an engine for a run of this name."""
    if execution.engine is Engine.LOCAL:
        return functools.partial(worker_processes, name)
    from reeldex.flows.execution.cluster_workers import cluster_workers

    return functools.partial(cluster_workers, execution)
