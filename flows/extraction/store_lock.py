"""Exclusive write access to a store, for the duration of a run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reeldex.errors import ReeldexError
from reeldex.flows.config.pipeline import WhenBusy
from reeldex.quantities import duration
from reeldex.storage.errors import StoreBusyError

if TYPE_CHECKING:
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)


class RunSkippedError(ReeldexError):
    """The run was skipped because its store is in use, as configured. The message names the other run."""


@contextmanager
def store_lock(store: FeatureStore, when_busy: WhenBusy, wait_seconds: float) -> Iterator[None]:
    """Hold the store's lock while the block runs; `when_busy` says what to do if another run holds it.

    Raises StoreBusyError (when waiting, after `wait_seconds`) or RunSkippedError.
    """
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(store.lock())
        except StoreBusyError as busy:
            if when_busy is WhenBusy.SKIP:
                raise RunSkippedError(f"Skipped: {busy}") from busy
            if when_busy is WhenBusy.FAIL or wait_seconds <= 0:
                raise
            log.info("Waiting for at most %s. %s", duration(wait_seconds), busy)
            lock.enter_context(store.lock(wait_seconds))
        yield
