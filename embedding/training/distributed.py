"""Training in several processes, started by torchrun: ranks, devices, and a loss over the whole batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from reeldex.embedding.errors import TrainingError

# The other processes wait while the first one evaluates.
_COLLECTIVE_TIMEOUT = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class ProcessRank:
    """The rank of this process among all processes, and among those of this machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ProcessRank:
        """Return the rank that torchrun's variables state, or a single process's; TrainingError if some are missing."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        given = [name for name in names if name in environment]
        if not given:
            return cls()
        if len(given) < len(names):
            raise TrainingError(f"Of the variables that torchrun sets, only {', '.join(given)} are set. Use torchrun.")
        try:
            rank, world_size, local_rank = (int(environment[name]) for name in names)
        except ValueError as error:
            raise TrainingError(f"{', '.join(names)}, which torchrun sets, must be numbers: {error}.") from error
        return cls(rank, world_size, local_rank)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def device(self, wanted: str) -> torch.device:
        """Return the device of this process: with a bare `cuda`, each process of a machine has its own."""
        return torch.device(f"cuda:{self.local_rank}" if wanted == "cuda" and self.world_size > 1 else wanted)


@contextmanager
def process_group(process: ProcessRank, device: torch.device) -> Iterator[None]:
    """Connect the processes of a training while the block runs: NCCL between GPUs, else Gloo; nothing for one."""
    if process.world_size == 1 or distributed.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_COLLECTIVE_TIMEOUT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


class _Gather(torch.autograd.Function):
    """Rows of all processes, in the order of their ranks."""

    @staticmethod
    def forward(ctx: object, rows: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        # Each process computes the whole loss and keeps the gradients of its own rows. DistributedDataParallel
        # takes the mean over the processes, and the sum is needed.
        gradient = gradients[0]
        world = distributed.get_world_size()
        return gradient.chunk(world)[distributed.get_rank()] * world


def gather(rows: Tensor, process: ProcessRank) -> Tensor:
    """Return the (N, ...) rows of all processes as (N * world_size, ...), in rank order; own rows get gradients."""
    if process.world_size == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def gather_ids(ids: tuple[str, ...], process: ProcessRank) -> tuple[str, ...]:
    """Return the texts of all processes, in rank order."""
    if process.world_size == 1:
        return ids
    parts: list[tuple[str, ...]] = [()] * process.world_size
    distributed.all_gather_object(parts, ids)
    return tuple(each for part in parts for each in part)
