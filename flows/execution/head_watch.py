"""Watches the head node of a cluster: without it, a cluster neither runs jobs nor says that it does not."""

from __future__ import annotations

import socket
import threading
import time

from reeldex.errors import InfrastructureError, PermanentFaultError
from reeldex.quantities import duration

SILENT_SECONDS = 20.0
"""How long a head node may not accept a connection. Ray ends this process after 60 s, without a word of ours."""

_LOOK_SECONDS = 2.0


class Silence:
    """For how long attempts have failed, at the times of `time.monotonic` at which they ended.

    Time in which nothing was attempted says nothing about the other side: this process may have been paused. Of the
    time between two attempts at most `longest_seconds` count.
    """

    def __init__(self, now: float, longest_seconds: float) -> None:
        self._last, self._longest_seconds = now, longest_seconds
        self._lock = threading.Lock()
        self.seconds = 0.0

    def attempted(self, now: float, *, answered: bool) -> None:
        """Count an attempt that ended now; threads may make them at the same time."""
        with self._lock:
            passed, self._last = max(0.0, now - self._last), max(now, self._last)
            self.seconds = 0.0 if answered else self.seconds + min(passed, self._longest_seconds)


class HeadWatch:
    """Tries to connect to a head node at `HOST:PORT` again and again, in a thread, until it is closed."""

    def __init__(self, address: str, silent_seconds: float = SILENT_SECONDS) -> None:
        self._address, self._silent_seconds = address, silent_seconds
        # An attempt and the pause before it.
        self._silence = Silence(time.monotonic(), 2 * _LOOK_SECONDS)
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="head node", daemon=True).start()

    @property
    def is_lost(self) -> bool:
        """Whether all attempts to connect to the head node have failed for so long."""
        return self._silence.seconds > self._silent_seconds

    def require(self) -> None:
        """Raise PermanentFaultError once the head node is lost: this process does not get its connection back."""
        if self.is_lost:
            raise PermanentFaultError(
                f"The head node of the Ray cluster ({self._address}) has not answered for "
                f"{duration(self._silent_seconds)}: it was shut down, has lost power or cannot be reached. Finished "
                "work is kept. Start Ray again on all nodes, then run it again."
            )

    def wait_for_answer(self) -> None:
        """Wait until the head node answers, before a request that would otherwise wait for it.

        Raises as `require`, and InfrastructureError when the watch is closed before there is an answer.
        """
        while not self._answers():
            self.require()
            if self._closed.wait(_LOOK_SECONDS / 10):
                raise InfrastructureError(
                    f"The head node of the Ray cluster ({self._address}) did not answer before the connection to it "
                    "was closed. Finished work is kept."
                )

    def close(self) -> None:
        """Watch it no longer."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            self._answers()

    def _answers(self) -> bool:
        host, _, port = self._address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _LOOK_SECONDS):
                answered = True
        except OSError:
            answered = False
        self._silence.attempted(time.monotonic(), answered=answered)
        return answered
