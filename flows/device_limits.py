"""One shard a device at a time, across all runs on a machine, by Prefect's global concurrency limits."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flows.workers import POOL

log = logging.getLogger(__name__)

# Waiting is broken off so often to see whether the run has been stopped.
_LOOK_UP_SECONDS = 4.0
# After a killed run its place is free again when the lease is over.
_LEASE_SECONDS = 60.0


def limit_name(device: str) -> str:
    """Return the name of a device's limit, such as `reeldex-gpubox-cuda-0`."""
    return "reeldex-" + re.sub(r"[^A-Za-z0-9]+", "-", f"{socket.gethostname()}-{device}")


def create_limits(devices: Sequence[str]) -> list[str]:
    """Have the server admit one shard at a time on each device; return the limits' names."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    names = [limit_name(device) for device in devices]
    with get_client(sync_client=True) as client:
        for name in names:
            if not _exists(name):  # one that is there may have been changed by its user
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    return names


@contextmanager
def one_shard_at_a_time(device: str) -> Iterator[None]:
    """Hold the device's place while the block runs, waiting for it; nothing to hold where the server has no limit.

    Raises RunStoppedError when the run is stopped meanwhile.
    """
    from prefect.concurrency.sync import concurrency

    name = limit_name(device)
    with contextlib.ExitStack() as held:
        while _exists(name):
            POOL.refuse_if_stopped()
            place = concurrency(
                name,
                timeout_seconds=_LOOK_UP_SECONDS,
                lease_duration=_LEASE_SECONDS,
                raise_on_lease_renewal_failure=False,
            )
            try:
                held.enter_context(place)
                break
            except TimeoutError:
                log.info("Waiting for %s, which another run is using (global concurrency limit %s)", device, name)
        yield


def _exists(name: str) -> bool:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            return False
        return True
