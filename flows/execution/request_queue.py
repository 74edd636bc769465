"""Requests of other processes of a cluster, for the process of a run to answer."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from reeldex.flows.execution.errors import RunStoppedError
from reeldex.flows.execution.messages import Failure, Result

_CLOSED = Failure(RunStoppedError("The run ended before this shard was done. Finished work is kept."))


class RequestQueue:
    """Requests that wait for their answers, for an actor: its methods are called from other processes."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: asyncio.Queue[tuple[int, Any] | None] = asyncio.Queue()  # None: it is closed
        self._askers: dict[int, asyncio.Future[Result | Failure]] = {}
        self._closed = False

    async def ask(self, request: Any) -> Result | Failure:  # noqa: ANN401 - what the two processes agree on
        """Return the answer to a request, once there is one; the Failure RunStoppedError when the queue is closed."""
        if self._closed:
            return _CLOSED
        number = next(self._numbers)
        answer: asyncio.Future[Result | Failure] = asyncio.get_running_loop().create_future()
        self._askers[number] = answer
        self._waiting.put_nowait((number, request))
        return await answer

    async def take(self) -> tuple[int, Any] | None:
        """Return the next request and its number, once there is one; None when the queue is closed."""
        found = await self._waiting.get()
        if self._closed:
            self._waiting.put_nowait(None)  # for the next one
            return None
        return found

    async def answer(self, number: int, answer: Result | Failure) -> None:
        """Hand on the answer to the request of this number."""
        asker = self._askers.pop(number, None)
        if asker is not None and not asker.done():  # it has gone, or the queue is closed
            asker.set_result(answer)

    async def close(self) -> None:
        """End all waiting: `ask` returns the Failure RunStoppedError, `take` returns None."""
        self._closed = True
        self._waiting.put_nowait(None)
        for number in list(self._askers):
            await self.answer(number, _CLOSED)
