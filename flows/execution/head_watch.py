"""Watches the head node of a cluster: without it, a cluster neither runs jobs nor says that it does not."""

from __future__ import annotations

import socket
import threading
import time

from reeldex.errors import PermanentFaultError
from reeldex.quantities import duration

SILENT_SECONDS = 20.0
"""How long a head node may not accept a connection. Ray ends this process after 60 s, without a word of ours."""

_LOOK_SECONDS = 2.0


class HeadWatch:
    """Tries to connect to a head node at `HOST:PORT` again and again, in a thread, until it is closed."""

    def __init__(self, address: str, silent_seconds: float = SILENT_SECONDS) -> None:
        self._address, self._silent_seconds = address, silent_seconds
        self._answered = time.monotonic()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="head node", daemon=True).start()

    @property
    def is_lost(self) -> bool:
        """Whether the head node has not accepted a connection for so long."""
        return not self._closed.is_set() and time.monotonic() - self._answered > self._silent_seconds

    def require(self) -> None:
        """Raise PermanentFaultError once the head node is lost: this process does not get its connection back."""
        if self.is_lost:
            raise PermanentFaultError(
                f"The head node of the Ray cluster ({self._address}) has not answered for "
                f"{duration(self._silent_seconds)}: it was shut down, has lost power or cannot be reached. Finished "
                "work is kept. Start Ray again on all nodes, then run it again."
            )

    def wait_for_answer(self) -> None:
        """Wait until the head node answers, before a request that would otherwise wait for it. Raises as `require`."""
        while not self._answers():
            self.require()
            time.sleep(_LOOK_SECONDS / 10)

    def close(self) -> None:
        """Watch it no longer."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            self._answers()

    def _answers(self) -> bool:
        host, _, port = self._address.rpartition(":")
        began = time.monotonic()
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _LOOK_SECONDS):
                self._answered = began
                return True
        except OSError:
            return False
