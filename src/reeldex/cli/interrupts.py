"""Ctrl-C that Python would lose: what finalizers and callbacks of weak references raise is printed and ignored."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

# The code whose error is ignored, and the hook itself, have to end before the next attempt, also on a busy machine.
_AGAIN_SECONDS = 0.2


@contextlib.contextmanager
def repeated_when_ignored() -> Iterator[None]:
    """For the duration of a block, send SIGINT again when its KeyboardInterrupt was ignored."""
    report = sys.unraisablehook
    timers: list[threading.Timer] = []

    def repeat(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            report(unraisable)
            return
        # To the main thread, which may wait in a system call.
        timer = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        timer.daemon = True
        timers.append(timer)
        timer.start()

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = report
        for timer in timers:
            timer.cancel()
