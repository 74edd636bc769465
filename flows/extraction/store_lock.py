"""Exclusive write access to a store, for the duration of a run."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reeldex.errors import ReeldexError
from reeldex.flows.config.pipeline import WhenBusy
from reeldex.quantities import duration
from reeldex.storage.atomic import make_folder
from reeldex.storage.errors import StoreBusyError
from reeldex.storage.lock import describe_holder, hold_lock

if TYPE_CHECKING:
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

# Folder within a store, with one folder per request that waits.
_WAITING = ".waiting"


class RunSkippedError(ReeldexError):
    """The run was skipped because its store is in use, as configured. The message names the other run."""


@contextmanager
def store_lock(store: FeatureStore, when_busy: WhenBusy, wait_seconds: float, request: object = None) -> Iterator[bool]:
    """Hold the store's lock while the block runs, and say whether another run held it first.

    `when_busy` says what to do then. Of runs with the same `request`, one waits at most; None: each waits.

    Raises StoreBusyError (when waiting, after `wait_seconds`) or RunSkippedError.
    """
    with contextlib.ExitStack() as lock:
        busy = _enter_at_once(lock, store)
        if busy is not None:
            if when_busy is WhenBusy.SKIP:
                raise RunSkippedError(f"Skipped: {busy}") from busy
            if when_busy is WhenBusy.FAIL or wait_seconds <= 0:
                raise busy
            with _alone_among_equals(store, request):
                log.info("Waiting for at most %s. %s", duration(wait_seconds), busy)
                lock.enter_context(store.lock(wait_seconds))
        yield busy is not None


def _enter_at_once(lock: contextlib.ExitStack, store: FeatureStore) -> StoreBusyError | None:
    """Enter the store's lock, or return why another run holds it."""
    try:
        lock.enter_context(store.lock())
    except StoreBusyError as busy:
        return busy
    return None


@contextmanager
def _alone_among_equals(store: FeatureStore, request: object) -> Iterator[None]:
    """Hold the place of the run that waits with this request. Raises RunSkippedError if another run holds it."""
    if request is None:
        yield
        return
    place = store.path / _WAITING / hashlib.sha256(repr(request).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    make_folder(place)
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(hold_lock(place, 0, "place"))
        except StoreBusyError as taken:
            raise RunSkippedError(
                f"Skipped: the store {store.path} is in use, and {describe_holder(place)} already waits to do the "
                "same. It lists the videos anew when its turn comes."
            ) from taken
        yield
