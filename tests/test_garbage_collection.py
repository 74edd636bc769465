"""Garbage collection is off for as long as anyone needs that, and then as it was before."""

from __future__ import annotations

import gc
import threading
from contextlib import ExitStack

from reeldex.garbage_collection import GARBAGE_COLLECTION_OFF


def test_it_is_off_until_the_last_thread_that_needs_that_has_ended() -> None:
    entered, ended = threading.Event(), threading.Event()

    def need() -> None:
        with GARBAGE_COLLECTION_OFF:
            entered.set()
            ended.wait(30)

    other = threading.Thread(target=need)
    with ExitStack() as own:
        own.enter_context(GARBAGE_COLLECTION_OFF)
        other.start()
        assert entered.wait(30)
        own.close()
        assert not gc.isenabled(), "the other thread needs it still"
        ended.set()
        other.join()
    assert gc.isenabled()


def test_a_program_without_it_stays_so() -> None:
    gc.disable()
    try:
        with GARBAGE_COLLECTION_OFF:
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
