"""The main loop of a worker process: receive a job, run it, report events and the result."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from reeldex.flows.execution.errors import as_our_error
from reeldex.flows.execution.jobs import OnEvent
from reeldex.flows.execution.logs import forward_log
from reeldex.flows.execution.messages import Failure, LogEvent, Message, ProgressEvent, Result
from reeldex.flows.execution.process_group import become_group_leader, end_with_parent, kill_own_group

Request = Callable[[OnEvent], Any]
"""A picklable request to a worker process."""


def work(connection: Connection) -> None:
    """Serve requests until the connection is closed or the parent ends."""
    become_group_leader()
    end_with_parent(kill_own_group)
    parent = ParentChannel(connection)
    forward_log(lambda record: parent.send(LogEvent(record)))
    while True:
        try:
            request: Request = connection.recv()
        except (EOFError, ConnectionError):
            return  # the parent has ended, or has closed the connection
        except Exception as error:  # noqa: BLE001 - a request that cannot be unpickled here has failed
            parent.send(Failure(as_our_error(error)))
            continue
        try:
            parent.send(Result(request(parent.on_event)))
        except Exception as error:  # noqa: BLE001 - it is reported to the sender of the request
            parent.send(Failure(as_our_error(error)))


class ParentChannel:
    """A thread-safe connection to the parent: decoder threads log too."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message."""
        # A closed connection means that the parent has ended; the watchdog then ends this process.
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._connection.send(message)

    def on_event(self, event: object) -> None:
        """Send an event of the current job."""
        self.send(ProgressEvent(event))
