"""Requests and their answers, as an actor hands them on."""

from __future__ import annotations

import asyncio

from reeldex.flows.execution.errors import RunStoppedError
from reeldex.flows.execution.messages import Failure, Result
from reeldex.flows.execution.request_queue import RequestQueue


def test_each_request_gets_its_own_answer_in_any_order() -> None:
    async def exchange() -> list[Result | Failure]:
        queue = RequestQueue()
        asking = [asyncio.ensure_future(queue.ask(each)) for each in ("a", "b", "gone")]
        taken = [await queue.take() for _ in asking]
        assert asking[2].cancel()
        for number, request in filter(None, reversed(taken)):
            await queue.answer(number, Result(request.upper()))
        return await asyncio.gather(*asking[:2])

    assert asyncio.run(exchange()) == [Result("A"), Result("B")]


def test_a_closed_queue_keeps_nobody_waiting() -> None:
    async def close() -> tuple[list[Result | Failure], list[object]]:
        queue = RequestQueue()
        asking = [asyncio.ensure_future(queue.ask(each)) for each in "ab"]
        taken = await queue.take()
        assert taken is not None
        taking = [asyncio.ensure_future(queue.take()) for _ in range(4)]
        await queue.close()
        await queue.answer(taken[0], Result("too late"))
        return [*await asyncio.gather(*asking), await queue.ask("c")], await asyncio.gather(*taking)

    answers, taken = asyncio.run(close())
    assert all(isinstance(each, Failure) and isinstance(each.error, RunStoppedError) for each in answers)
    assert len(answers) == 3
    assert taken == [None] * 4, "nobody waits for what b has asked"
