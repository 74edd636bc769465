"""Runs that use a store: each counts as a user for its whole time, and plans while no other run plans."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from reeldex.storage.claims import (
    PLANNING,
    RUN,
    SHARD,
    STORE,
    WAITING,
    RunId,
    fence_of,
    give_back,
    leases_of,
    once_free,
    working,
)
from reeldex.storage.errors import RunLostError
from reeldex.storage.housekeeping import remove_temporaries, sweep
from reeldex.storage.lease_owner import LeaseOwner
from reeldex.storage.lease_record import LEASE_SECONDS
from reeldex.storage.leases import Lease
from reeldex.storage.remote_path import RemotePath, refresh

_FOREVER = float("inf")


class RunClaim:
    """A run that uses a store. `id` is what its workers prove it with."""

    def __init__(self, root: Path, lease: Lease) -> None:
        self.id = RunId(lease.key, lease.record.token, lease.record.owner.work)
        self._root, self._lease = root, lease

    def require_held(self) -> None:
        """Raise RunLostError if another process has taken this run for dead; OSError where that cannot be told now."""
        if not self._lease.is_held():
            raise RunLostError(self._root, self.id.work)

    @contextmanager
    def planning(self) -> Iterator[None]:
        """Hold the store for planning while the block runs; on entry, leftovers of killed runs are removed.

        Waits for other runs that plan, however long they take.
        """
        record, leases = self._lease.record, leases_of(self._root)
        with once_free(
            self._root, lambda: working(self._root, STORE, PLANNING, record.owner, record.lease_seconds), (), _FOREVER
        ):
            self.require_held()
            refresh(self._root)
            leases.clear("", record.owner, fence_of(self._root))
            users = [*leases.live(RUN), *leases.live(SHARD)]
            if all(each.key == self._lease.key for each in users):
                sweep(self._root)
            else:
                # Staged videos of a shard belong to whoever works on it.
                remove_temporaries(self._root)
            yield


@contextmanager
def join_runs(
    root: Path,
    *,
    share: bool,
    wait_seconds: float,
    work: str | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> Iterator[RunClaim]:
    """Count as a run that uses the store while the block runs; with `share`, beside other runs, else as the only one.

    Raises StoreBusyError, naming who uses the store, unless that ends within `wait_seconds`. With `share`, a run that
    plans is waited for in any case; RemoteStoreError where an object store cannot keep their claims apart.
    """
    if share and isinstance(root, RemotePath):
        root.require_comparison()
    owner = LeaseOwner.this_process(work)

    def acquire() -> AbstractContextManager[Lease]:
        return working(root, STORE, PLANNING, owner, lease_seconds)

    with once_free(root, acquire, () if share else (RUN, SHARD), wait_seconds, planning_is_short=share):
        run = leases_of(root).acquire(f"{RUN}{uuid.uuid4().hex}", "run", owner, lease_seconds=lease_seconds)
    try:
        yield RunClaim(root, run)
    finally:
        give_back(run)


@contextmanager
def waiting_place(root: Path, request: str) -> Iterator[None]:
    """Hold the place of the run that waits with this request. Raises ClaimHeldError if another run holds it."""
    lease = leases_of(root).acquire(f"{WAITING}{request}", "waiting", LeaseOwner.this_process())
    try:
        yield
    finally:
        give_back(lease)
