"""The server asks again where Prefect turns a request away."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flows.server import AskAgain


def _answered(app: Any, *bodies: bytes) -> tuple[int, bytes]:  # noqa: ANN401 - an ASGI application
    parts = list(bodies) or [b""]
    asked = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1} for index, part in enumerate(parts)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return asked.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(AskAgain(app, pause_seconds=0.0)({"type": "http"}, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def _busy(times: int, seen: list[bytes], *, raises: bool = False) -> Any:  # noqa: ANN401 - an ASGI application
    async def app(
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        seen.append(body)
        status = 503 if len(seen) <= times else 201
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(len(seen)).encode()})
        if raises and status == 503:
            raise RuntimeError("database is locked")

    return app


@pytest.mark.parametrize("raises", [False, True])
def test_a_request_that_is_turned_away_is_made_again_with_its_whole_body(raises: bool) -> None:  # noqa: FBT001
    seen: list[bytes] = []
    assert _answered(_busy(2, seen, raises=raises), b"one ", b"two") == (201, b"3")
    assert seen == [b"one two"] * 3


def test_it_is_not_asked_for_ever() -> None:
    seen: list[bytes] = []
    assert _answered(_busy(1000, seen)) == (503, b"20")


def test_other_answers_pass_at_once() -> None:
    seen: list[bytes] = []
    assert _answered(_busy(0, seen), b"x") == (201, b"1")
