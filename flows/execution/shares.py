"""How many workers each node of a cluster gets, and which part of the node is theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reeldex.errors import UsageError
from reeldex.flows.config.execution import ExecutionConfig
from reeldex.quantities import counted, data_size


@dataclass(frozen=True)
class ClusterNode:
    """A node that is alive: what it offers to workers in total, in use or not."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory_bytes: float


@dataclass(frozen=True)
class Share:
    """The part of a node that is reserved for one worker; `index` counts the workers of the node from 0."""

    node: ClusterNode
    index: int
    device: str
    cpus: int
    gpus: float
    memory_bytes: int

    @property
    def name(self) -> str:
        """The worker's name, such as `gpubox worker 0`."""
        return f"{self.node.name} worker {self.index}"

    @property
    def key(self) -> tuple[str, int]:
        """What tells the share from all others of the cluster."""
        return self.node.id, self.index

    def __str__(self) -> str:
        gpus = f"{self.gpus:g} {'GPU' if self.gpus == 1 else 'GPUs'}, " if self.gpus else ""
        memory = f", {data_size(self.memory_bytes)} of memory" if self.memory_bytes else ""
        return f"{gpus}{counted(self.cpus, 'CPU')}{memory}"


def shares_of(nodes: Iterable[ClusterNode], execution: ExecutionConfig, devices: str) -> tuple[Share, ...]:
    """Return a share for each worker that the nodes have room for; none where they have no room.

    `devices`: auto takes the GPUs of the cluster, and the CPUs of all nodes if there is no GPU; cuda takes GPUs only,
    cpu CPUs only. Raises UsageError for devices by number, which each node has.
    """
    if devices not in ("auto", "cuda", "cpu"):
        raise UsageError(
            f"Device {devices!r} names devices of one machine; on a Ray cluster, Ray assigns them. Use --device auto, "
            "cuda or cpu."
        )
    nodes = sorted(nodes, key=lambda node: (node.name, node.id))
    on_gpus = devices == "cuda" or (devices == "auto" and any(node.gpus for node in nodes))
    return tuple(share for node in nodes for share in _of_node(node, execution, on_gpus=on_gpus))


def _of_node(node: ClusterNode, execution: ExecutionConfig, *, on_gpus: bool) -> Sequence[Share]:
    gpus = execution.gpus_per_worker if on_gpus else 0.0
    # A worker's part of a GPU lies on one GPU.
    most = int(node.gpus) * int(1 / gpus + 1e-6) if on_gpus else max(1, int(node.cpus))
    if not most:
        return ()
    cpus = execution.cpus_per_worker or max(1, int(node.cpus) // (most if on_gpus else 1))
    memory = execution.memory_per_worker_bytes or 0
    count = min(most, int(node.cpus) // cpus, int(node.memory_bytes // memory) if memory else most)
    return [Share(node, index, "cuda:0" if on_gpus else "cpu", cpus, gpus, memory) for index in range(count)]


def no_room(nodes: Sequence[ClusterNode], execution: ExecutionConfig, devices: str) -> UsageError:
    """Return the error of a cluster without room for a single worker: what one needs, and what the nodes have."""
    needs = [
        f"{execution.gpus_per_worker:g} GPU" if devices == "cuda" or any(node.gpus for node in nodes) else "",
        counted(execution.cpus_per_worker or 1, "CPU"),
        f"{data_size(execution.memory_per_worker_bytes)} of memory" if execution.memory_per_worker_bytes else "",
    ]
    have = "; ".join(
        f"{node.name}: {counted(int(node.cpus), 'CPU')}, {counted(int(node.gpus), 'GPU')}, "
        f"{data_size(node.memory_bytes)}"
        for node in nodes
    )
    return UsageError(
        f"No node of the Ray cluster has room for a worker, which needs {', '.join(filter(None, needs))} (device "
        f"{devices}). Nodes: {have or 'none'}. Add nodes, or change --device, --gpus-per-worker, --cpus-per-worker or "
        "--memory-per-worker-bytes."
    )
