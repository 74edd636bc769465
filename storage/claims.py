"""Who may change a store: processes on one or several machines, by leases in its folder `claims`.

- `store`: held while a run plans, or by a command that changes what runs rely on.
- `run-<token>`: held by a run for its whole time; who needs the store alone waits for all of them.
- `shard-00007`: held by the process that works on the shard, which changes its files through a workspace.
- `waiting-<request>`: held by a run that waits for the store.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reeldex.remote_faults import RemoteError
from reeldex.storage import layout
from reeldex.storage.errors import ClaimHeldError, ClaimLostError, RunLostError, StoreBusyError, StoreVanishedError
from reeldex.storage.lease_medium import LeaseFolder
from reeldex.storage.lease_objects import LeaseObjects
from reeldex.storage.lease_owner import LeaseOwner
from reeldex.storage.lease_record import LEASE_SECONDS, FoundLease, LeaseRecord
from reeldex.storage.leases import Fence, Lease, Leases
from reeldex.storage.presence import has_vanished, require_present
from reeldex.storage.remote_path import RemotePath
from reeldex.storage.workspace import Workspace, workspace_for
from reeldex.storage.write_errors import UnwritableError, lasting_fault

log = logging.getLogger(__name__)

STORE, RUN, SHARD, WAITING = "store", "run-", "shard-", "waiting-"
PLANNING, ALONE = "planning", "alone"

OUTAGE_SECONDS = 300.0
"""For how long an object store may fail to answer one that waits for the store."""

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class RunId:
    """A run that uses a store, for the processes that work for it: the key and token of its claim, and its work."""

    key: str
    token: str
    work: str


@functools.cache
def leases_of(root: Path) -> Leases:
    """Return the leases of a store, one instance per process: it remembers what it has seen."""
    folder = layout.claims_folder(root)
    return Leases(LeaseObjects(folder) if isinstance(folder, RemotePath) else LeaseFolder(folder))


def shard_holder(root: Path, shard: int) -> FoundLease | None:
    """Return the live claim on a shard, None if there is none; an abandoned one is cleared."""
    leases, key = leases_of(root), f"{layout.shard_stem(shard)}."
    live = leases.live(key)
    if not live:
        leases.clear(key, LeaseOwner.this_process(), fence_of(root))
    return live[-1] if live else None


def live_tokens(root: Path) -> set[str]:
    """Return the tokens of all claims that are not abandoned, which name their workspaces."""
    return {each.record.token for each in leases_of(root).live("") if each.record is not None}


@contextmanager
def claim_shard(
    root: Path, shard: int, *, run: RunId | None = None, lease_seconds: float = LEASE_SECONDS
) -> Iterator[Lease]:
    """Hold the claim on a shard while the block runs; all changes in it go through the claim's workspace.

    `run` is the run that this process works for. Raises ClaimHeldError, naming the holder, when another live process
    has the claim, ClaimLostError when another one has taken it over meanwhile, and RunLostError when another one has
    taken the run for dead; OSError when the claim has lapsed and it cannot be told whether another one has taken it.
    """
    require_present(root)
    work = run.work if run is not None else None
    with working(root, layout.shard_stem(shard), "shard", LeaseOwner.this_process(work), lease_seconds) as lease:
        # Who takes a run for dead removes its claim first, and then looks for claims on shards.
        if run is not None and not leases_of(root).exists(run.key, run.token):
            raise RunLostError(root, run.work)
        yield lease
        # One that found everything done, by whoever overtook it, has changed nothing and met no fence.
        if not lease.is_held():
            raise ClaimLostError(f"{layout.shard_stem(shard)} of {root}")


@contextmanager
def alone(root: Path, wait_seconds: float) -> Iterator[None]:
    """Hold the store alone while the block runs: no run uses it, and none starts.

    All changes go through a workspace. Raises StoreBusyError, naming a run or a command that uses the store, unless it
    ends within `wait_seconds`.
    """
    owner = LeaseOwner.this_process()
    with once_free(root, lambda: working(root, STORE, ALONE, owner, LEASE_SECONDS), (RUN, SHARD), wait_seconds):
        leases_of(root).clear("", owner, fence_of(root))
        yield


@contextmanager
def working(root: Path, key: str, purpose: str, owner: LeaseOwner, lease_seconds: float) -> Iterator[Lease]:
    """Hold a lease while the block runs, and make all changes of the store in it go through its workspace."""

    def opened(record: LeaseRecord) -> None:
        _workspace(root, key, record).create()

    with _faults_about(root, key):
        lease = leases_of(root).acquire(
            key, purpose, owner, lease_seconds=lease_seconds, fence=fence_of(root), opened=opened
        )
    workspace = _workspace(root, key, lease.record)
    try:
        with workspace.active():
            yield lease
    except Exception as error:
        if (
            isinstance(error, (ClaimLostError, RunLostError, StoreVanishedError))
            or workspace.is_held()
            or has_vanished(root)
        ):
            raise
        raise ClaimLostError(workspace.what) from error
    finally:
        give_back(lease, workspace)


def give_back(lease: Lease, workspace: Workspace | None = None) -> None:
    """Release a claim. Where that fails, it lapses: whoever takes it over then removes its workspace.

    This process takes it over without waiting for that.
    """
    try:
        if workspace is not None:
            workspace.remove()
        lease.release()
    except OSError as error:
        seconds = lease.record.lease_seconds
        log.warning("The claim %s could not be released; it lapses in %g s: %s", lease.name, seconds, error)
    finally:
        lease.lapse()


def _workspace(root: Path, key: str, record: LeaseRecord) -> Workspace:
    return workspace_for(root, record.token, f"The store {root}" if key == STORE else f"{key} of {root}")


def fence_of(root: Path) -> Fence:
    """Return what removes the workspace of a former holder."""

    def fence(found: FoundLease) -> None:
        if found.record is not None:
            _workspace(root, found.key, found.record).remove()

    return fence


@contextmanager
def once_free(
    root: Path,
    acquire: Callable[[], AbstractContextManager[Lease]],
    users: tuple[str, ...],
    wait_seconds: float,
    *,
    planning_is_short: bool = False,
) -> Iterator[None]:
    """Hold what `acquire` acquires while the block runs, once there is no live claim of these kinds of `users`.

    A holder on another machine counts as one only if it is seen to renew its claim: it may have been lost. Once it
    waits, an object store may fail to answer for `OUTAGE_SECONDS`.
    """
    require_present(root)
    leases, deadline, noted = leases_of(root), time.monotonic() + wait_seconds, False
    patience = _Patience()
    with ExitStack() as held:
        while (busy := patience.asked(lambda: _enter(held, leases, acquire, users))) is not None:
            late = time.monotonic() >= deadline and not (planning_is_short and busy.purpose == PLANNING)
            if late and leases.is_seen_alive(busy):
                raise _store_busy(root, busy)
            if late and not noted:
                noted = True
                log.info("Looking for at most %g s whether %s is still alive", busy.lease_seconds, busy)
            time.sleep(_LOOK_SECONDS)
        yield


class _Patience:
    """Lets an object store fail to answer, for a time, while it is asked again and again."""

    def __init__(self) -> None:
        self._last: tuple[FoundLease | None, float] | None = None

    def asked(self, question: Callable[[], FoundLease | None]) -> FoundLease | None:
        """Return what is in the way, as it was last seen if the store does not answer now."""
        try:
            found = question()
        except RemoteError as error:
            if self._last is None or not error.fault.transient or time.monotonic() - self._last[1] > OUTAGE_SECONDS:
                raise
            log.warning("%s It is waited for, and asked again.", error)
            return self._last[0]
        self._last = (found, time.monotonic())
        return found


def _enter(
    held: ExitStack, leases: Leases, acquire: Callable[[], AbstractContextManager[Lease]], users: tuple[str, ...]
) -> FoundLease | None:
    """Enter what `acquire` returns, unless there are users before or after it; return what is in the way."""
    if busy := next((each for kind in users for each in leases.live(kind)), None):
        return busy
    with ExitStack() as entry:
        try:
            entry.enter_context(acquire())
        except ClaimHeldError:
            # Released again since: the next attempt tells.
            return next(iter(leases.live(f"{STORE}.")), None) or _enter(held, leases, acquire, users)
        busy = next((each for kind in users for each in leases.live(kind)), None)
        if busy is None:
            held.enter_context(entry.pop_all())
        return busy


def _store_busy(root: Path, busy: FoundLease) -> StoreBusyError:
    return StoreBusyError(
        f"The store {root} is in use by {busy}. Wait until that run has ended, or end it; the store is free when that "
        f"process ends (if it is lost with its machine, {busy.lease_seconds:g} s later). Reading the store needs no "
        "lock."
    )


@contextmanager
def _faults_about(root: Path, key: str) -> Iterator[None]:
    """State a fault of writing a claim as one of the store; a request that merely asked is named by its error."""
    try:
        yield
    except RemoteError:
        raise  # a refused write is an UnwritableError already
    except OSError as error:
        fault = error if isinstance(error, UnwritableError) else lasting_fault(layout.claims_folder(root) / key, error)
        if fault is None:
            raise
        raise fault.about(root) from error
