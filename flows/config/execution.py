"""The section `execution` of `pipeline.yaml`: on which machines shards are extracted."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from reeldex.options import Options

AUTO, OF_THIS_RUN = "auto", "local"
"""Addresses of a Ray cluster: the one that Ray finds from this machine, and one that Ray starts for the run alone."""

_HOST_AND_PORT = re.compile(r"[^\s/:\[\]]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}")


class Engine(StrEnum):
    """What runs the shards: worker processes of this machine, or a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"


class TaskRunnerName(StrEnum):
    """What runs the Prefect tasks of shards: threads of the flow's process, or processes of Ray on its machine."""

    THREADS = "threads"
    RAY = "ray"


def _cluster_address(address: str) -> str:
    if address.startswith("ray://"):
        raise ValueError(
            "Ray's client protocol (ray://) is not supported: start the run on a node of the cluster, with the address "
            "auto or HOST:PORT of its head node"
        )
    if address not in (AUTO, OF_THIS_RUN) and not _HOST_AND_PORT.fullmatch(address):
        raise ValueError("the address of a Ray cluster is auto, local or HOST:PORT of its head node")
    return address


class ExecutionConfig(Options):
    """On which machines shards are extracted. All keys but `engine` are those of Ray."""

    engine: Annotated[
        Engine,
        Field(
            title="Engine",
            description="local: worker processes of this machine, one per device. ray: the nodes of a Ray cluster, "
            "with a worker per GPU, or per share of the CPUs if no node has a GPU. Store, videos and weights must have "
            "the same paths on all nodes.",
        ),
    ] = Engine.LOCAL
    address: Annotated[
        str,
        AfterValidator(_cluster_address),
        Field(
            title="Ray address",
            description="The Ray cluster. auto: the one that RAY_ADDRESS names, or that this machine is a node of. "
            "HOST:PORT: the one with this head node. local: one on this machine, for this run alone.",
        ),
    ] = AUTO
    gpus_per_worker: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            title="GPUs per worker",
            description="GPUs that a Ray worker reserves; 0.5 lets two workers share a GPU. Ignored with device cpu.",
        ),
    ] = 1.0
    cpus_per_worker: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(
            title="CPUs per worker",
            description="CPUs that a Ray worker reserves and uses. null: on a node with GPUs an equal share of its "
            "CPUs for each worker, else all CPUs of the node for one worker.",
        ),
    ] = None
    memory_per_worker_bytes: Annotated[
        Annotated[int, Field(ge=1 << 28)] | None,
        Field(
            title="Memory per worker (bytes)",
            description="Memory that a Ray worker reserves on its node. null: none, so that memory does not limit the "
            "number of workers.",
        ),
    ] = None
    task_runner: Annotated[
        TaskRunnerName,
        Field(
            title="Task runner",
            description="What runs the Prefect tasks of a flow run with the engine ray: they wait for the workers that "
            "extract. threads: threads of the flow run's process. ray: processes of Ray on its machine, "
            "through prefect-ray, so that Ray's own tools list them.",
        ),
    ] = TaskRunnerName.THREADS
