"""A run's use of a store: alone or beside other runs, and what happens while others use it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from reeldex.errors import ReeldexError
from reeldex.flows.config.pipeline import WhenBusy
from reeldex.quantities import duration
from reeldex.storage.errors import ClaimHeldError, StoreBusyError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from reeldex.storage.claims import RunId
    from reeldex.storage.run_claims import RunClaim
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

# The run that this thread works for; Prefect runs tasks in copies of the context.
_run: ContextVar[RunId | None] = ContextVar("run", default=None)


class RunSkippedError(ReeldexError):
    """The run was skipped because its store is in use, as configured. The message names the other run."""


class StoreUse:
    """The use of a store by one run. `waited` is whether another run used the store first."""

    def __init__(self, claim: RunClaim, *, waited: bool) -> None:
        self.waited = waited
        self._claim = claim

    def planning(self) -> AbstractContextManager[None]:
        """Let no other run plan, and clean up what killed runs left, while the block runs."""
        return self._claim.planning()


def current_run() -> RunId | None:
    """Return the run that this thread works for, None outside of `store_use`."""
    return _run.get()


@contextmanager
def store_use(
    store: FeatureStore, when_busy: WhenBusy, wait_seconds: float, lease_seconds: float, request: object = None
) -> Iterator[StoreUse]:
    """Use a store while the block runs. `when_busy` says what to do while another run uses it.

    Of runs with the same `request`, one waits at most; None: each waits. `lease_seconds` is how long this run may show
    no sign of life before others may take over.

    Raises StoreBusyError (when waiting, after `wait_seconds`) or RunSkippedError.
    """
    with contextlib.ExitStack() as use:
        claim, busy = None, None
        if when_busy is WhenBusy.SHARE:
            claim = use.enter_context(store.join(share=True, wait_seconds=wait_seconds, lease_seconds=lease_seconds))
        else:
            try:
                claim = use.enter_context(store.join(lease_seconds=lease_seconds))
            except StoreBusyError as error:
                busy = error
        if busy is not None:
            if when_busy is WhenBusy.SKIP:
                raise RunSkippedError(f"Skipped: {busy}") from busy
            if when_busy is WhenBusy.FAIL or wait_seconds <= 0:
                raise busy
            with _alone_among_equals(store, request):
                log.info("Waiting for at most %s. %s", duration(wait_seconds), busy)
                claim = use.enter_context(store.join(wait_seconds=wait_seconds, lease_seconds=lease_seconds))
        assert claim is not None  # noqa: S101 - for the type checker
        before = _run.get()
        _run.set(claim.id)
        try:
            yield StoreUse(claim, waited=busy is not None)
        finally:
            _run.set(before)


@contextmanager
def _alone_among_equals(store: FeatureStore, request: object) -> Iterator[None]:
    """Hold the place of the run that waits with this request. Raises RunSkippedError if another run holds it."""
    if request is None:
        yield
        return
    place = hashlib.sha256(repr(request).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    with contextlib.ExitStack() as claim:
        try:
            claim.enter_context(store.waiting_place(place))
        except ClaimHeldError as taken:
            raise RunSkippedError(
                f"Skipped: the store {store.path} is in use, and {taken.holder} already waits to do the "
                "same. It lists the videos anew when its turn comes."
            ) from taken
        yield
