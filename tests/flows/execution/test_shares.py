from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reeldex.errors import UsageError
from reeldex.flows.config.execution import ExecutionConfig
from reeldex.flows.execution.shares import ClusterNode, no_room, shares_of

GB = 1e9


def node(name: str, cpus: float, gpus: float = 0.0, memory: float = 64 * GB) -> ClusterNode:
    return ClusterNode(f"id of {name}", name, cpus, gpus, memory)


@pytest.mark.parametrize(
    ("nodes", "options", "devices", "expected"),
    [
        # A worker per GPU, with an equal share of the CPUs; nodes without a GPU are left out.
        (
            [node("b", 16, 2), node("a", 8)],
            {},
            "auto",
            [("b worker 0", "cuda:0", 8, 1.0), ("b worker 1", "cuda:0", 8, 1.0)],
        ),
        # All CPUs of each node.
        ([node("b", 2), node("a", 8)], {}, "auto", [("a worker 0", "cpu", 8, 0.0), ("b worker 0", "cpu", 2, 0.0)]),
        ([node("a", 8, 2)], {}, "cpu", [("a worker 0", "cpu", 8, 0.0)]),
        ([node("a", 5)], {"cpus_per_worker": 2}, "auto", [(f"a worker {n}", "cpu", 2, 0.0) for n in range(2)]),
        # GPUs are shared, but none is split over two.
        ([node("a", 8, 2)], {"gpus_per_worker": 0.5}, "cuda", [(f"a worker {n}", "cuda:0", 2, 0.5) for n in range(4)]),
        ([node("a", 8, 2)], {"gpus_per_worker": 0.6}, "cuda", [(f"a worker {n}", "cuda:0", 4, 0.6) for n in range(2)]),
        ([node("a", 9, 1)], {"gpus_per_worker": 0.3}, "cuda", [(f"a worker {n}", "cuda:0", 3, 0.3) for n in range(3)]),
        # CPUs and memory limit the number of workers.
        ([node("a", 1, 4)], {}, "auto", [("a worker 0", "cuda:0", 1, 1.0)]),
        ([node("a", 8, 4)], {"cpus_per_worker": 3}, "auto", [(f"a worker {n}", "cuda:0", 3, 1.0) for n in range(2)]),
        ([node("a", 8, 4)], {"memory_per_worker_bytes": int(30 * GB)}, "auto",
         [("a worker 0", "cuda:0", 2, 1.0), ("a worker 1", "cuda:0", 2, 1.0)]),
        # A head node that takes no work; a node without any GPU for cuda; no node at all.
        ([node("head", 0), node("a", 1)], {}, "auto", [("a worker 0", "cpu", 1, 0.0)]),
        ([node("head", 0, 1), node("a", 1)], {}, "auto", []),
        ([node("a", 8)], {}, "cuda", []),
        ([node("a", 0.5)], {}, "auto", []),
        ([], {}, "auto", []),
    ],
)  # fmt: skip
def test_each_node_gets_the_workers_that_it_has_room_for(
    nodes: list[ClusterNode], options: dict[str, Any], devices: str, expected: list[tuple[str, str, int, float]]
) -> None:
    found = shares_of(nodes, ExecutionConfig(**options), devices)
    assert [(share.name, share.device, share.cpus, share.gpus) for share in found] == expected
    assert len({share.key for share in found}) == len(found)


def test_devices_by_number_are_refused() -> None:
    with pytest.raises(UsageError, match="Use --device auto"):
        shares_of([node("a", 8, 2)], ExecutionConfig(), "cuda:0,cuda:1")


def test_what_a_worker_needs_and_what_the_nodes_have_is_said() -> None:
    options = ExecutionConfig(cpus_per_worker=16, memory_per_worker_bytes=1 << 30)
    message = str(no_room([node("a", 8, 2), node("b", 1)], options, "auto"))
    assert "1 GPU, 16 CPUs, 1.1 GB of memory" in message
    assert "a: 8 CPUs, 2 GPUs, 64.0 GB; b: 1 CPU, 0 GPUs, 64.0 GB" in message
    assert "Nodes: none" in str(no_room([], options, "cpu"))


@pytest.mark.parametrize("address", ["auto", "local", "10.0.0.1:6379", "head.lab:6379", "[::1]:6379"])
def test_addresses_of_clusters(address: str) -> None:
    assert ExecutionConfig(address=address).address == address


@pytest.mark.parametrize("address", ["", "head", "http://head:6379", "head:", "head:port", "a b:1", "Auto"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="auto, local or HOST:PORT"):
        ExecutionConfig(address=address)


def test_the_client_protocol_of_ray_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValidationError, match="on a node of the cluster"):
        ExecutionConfig(address="ray://head:10001")


@pytest.mark.parametrize(
    "wrong", [{"gpus_per_worker": 0}, {"gpus_per_worker": 2}, {"cpus_per_worker": 0}, {"engine": "dask"}]
)
def test_shares_out_of_bounds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExecutionConfig(**wrong)
