"""Deduplicates concurrent work: it runs once, and is cancelled when no request waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

Result = TypeVar("Result")


class _Job(Generic[Result]):
    def __init__(self, task: asyncio.Task[Result]) -> None:
        self.task = task
        self.waiting = 0


class SingleFlight(Generic[Result]):
    """Runs one job per key at a time; concurrent callers share its result."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job[Result]] = {}

    async def result(
        self, key: str, work: Callable[[], Coroutine[Any, Any, Result]], gone: Callable[[], Awaitable[None]]
    ) -> Result | None:
        """Return the result of `work`, which the first caller starts; None if this caller disconnected.

        `gone` waits for the caller to disconnect. What `work` raises is raised to all waiting callers.
        """
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(asyncio.create_task(work()))
        job.waiting += 1
        leaving = asyncio.ensure_future(gone())
        try:
            await asyncio.wait({job.task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return job.task.result() if job.task.done() else None
        finally:
            leaving.cancel()
            job.waiting -= 1
            if job.waiting == 0 or job.task.done():
                if self._jobs.get(key) is job:
                    del self._jobs[key]
                if not job.task.done():
                    job.task.cancel()
