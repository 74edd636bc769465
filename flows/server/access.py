"""Access control of our Prefect server: a guard in front of it, and the secret that its clients send.

Prefect has its own check (PREFECT_SERVER_API_AUTH_STRING), for which its page shows a prompt. The guard runs before it;
it accepts the secret in the same ways from programs, and as a cookie from browsers. If the user has enabled Prefect's
own check, that check is used instead of the secret.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from reeldex.errors import UsageError
from reeldex.flows.server.secret_file import CLIENT_VARIABLE, SERVER_VARIABLE, load_or_make_secret, secret_file
from reeldex.search.page.access_secret import TOKEN_PARAMETER, AccessSecret
from reeldex.search.page.request_guard import HEADERS, RequestGuard

NO_SECRET_OPTION = "--no-secret"  # noqa: S105 - an option

_HINT = (
    "This server requires a secret. In a browser, open the address that `reeldex up` printed; programs send the "
    f"secret in {CLIENT_VARIABLE}, as printed by `reeldex up`."
)
_HEALTH = "/api/health"
_HEADERS = {
    **HEADERS,
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'; form-action 'self'; object-src 'none'",
}
# An access log would contain tokens of URLs. With the parser h11 the guard sees the whole request target.
UVICORN_OPTIONS: Mapping[str, Any] = {"http": "h11", "access_log": False, "proxy_headers": False}
_HANDSHAKE_SECONDS = 10.0
_POLICY_VIOLATION = 1008  # of RFC 6455

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


@dataclass(frozen=True)
class ServerAccess:
    """How clients access our server at `api_url`: with this secret; if there is none, `kind` says why."""

    api_url: str
    kind: Literal["secret", "own password", "open"]
    secret: str | None = field(default=None, repr=False)

    @property
    def options(self) -> list[str]:
        """Options of `flows.server.application`; the secret is in the environment, which only this user can read."""
        return [] if self.secret is not None else [NO_SECRET_OPTION]

    def browser_url(self, path: str) -> str:
        """Return the URL that grants a browser access, for a path of the UI."""
        url = self.api_url.removesuffix("/api") + path
        return url if self.secret is None else f"{url}?{TOKEN_PARAMETER}={AccessSecret(self.secret, _HINT).token}"

    def __str__(self) -> str:
        """Return lines for people: who has access, and how."""
        match self.kind:
            case "secret":
                file = shlex.quote(str(secret_file()))
                return (
                    "  Access      anyone with that address, or the secret in the file below, can start runs here\n"
                    "  Shell       for `prefect` commands; `reeldex` commands only need the first variable:\n"
                    f'              export PREFECT_API_URL={self.api_url} {CLIENT_VARIABLE}="$(cat {file})"'
                )
            case "own password":
                return f"  Access      with the password that {SERVER_VARIABLE} sets; the page prompts for it"
            case "open":
                return (
                    f"  WARNING     {NO_SECRET_OPTION}: all users and programs of this machine can start runs here,\n"
                    "              and so execute any command as you"
                )


def prepare_access(api_url: str, *, no_secret: bool = False) -> ServerAccess:
    """Set the environment of this process for a server to be started at `api_url`, and for its clients.

    The secret is the user's, created if absent. Raises UsageError when others could read it.
    """
    # The page sends requests to the host name that it was loaded from.
    os.environ.setdefault("PREFECT_UI_API_URL", "/api")
    if password := os.environ.get(SERVER_VARIABLE):
        os.environ[CLIENT_VARIABLE] = password
        return ServerAccess(api_url, "own password")
    if no_secret:
        os.environ.pop(CLIENT_VARIABLE, None)
        return ServerAccess(api_url, "open")
    secret = os.environ[CLIENT_VARIABLE] = load_or_make_secret(secret_file())
    return ServerAccess(api_url, "secret", secret)


def require_access(api_url: str) -> None:
    """Raise UsageError if the server that Prefect's settings name, `api_url`, rejects this process's credentials."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    with get_client(sync_client=True) as client:
        try:
            client.api_version()
        except httpx.TransportError:
            return  # it does not answer, which its callers report
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.UNAUTHORIZED:
                return
            given = "is not the right one" if CLIENT_VARIABLE in os.environ else "is not set"
            raise UsageError(
                f"The Prefect server at {api_url} asks for a secret, and {CLIENT_VARIABLE} {given}. Ask the server's "
                "owner for it; `reeldex up` prints the value for its own server."
            ) from error


def guarded(app: _App, *, no_secret: bool) -> _App:
    """Return Prefect's server behind the guard, which requires the secret in this process's environment."""
    text = None if no_secret else os.environ.get(CLIENT_VARIABLE)
    if not text and not no_secret:
        raise UsageError(
            f"{CLIENT_VARIABLE} is not set: the server would be open to everyone. Set it, or {NO_SECRET_OPTION}."
        )
    secret = None if text is None else AccessSecret(text, _HINT)
    return RequestGuard(
        app,
        is_page=lambda path: path != "/api" and not path.startswith("/api/"),
        headers=_HEADERS,
        secret=secret,
        # The parent process checks this before it sends anything confidential.
        open_paths=frozenset({_HEALTH}),
        asks_later=None if secret is None else FirstMessage(app, secret),
    )


class FirstMessage:
    """An ASGI application that passes to `app` only websockets whose first message contains the secret.

    Prefect's clients send `{"type": "auth", "token": ...}`, after negotiating the subprotocol `prefect`.
    """

    def __init__(self, app: _App, secret: AccessSecret, patience_seconds: float = _HANDSHAKE_SECONDS) -> None:
        self._app = app
        self._secret = secret
        self._patience_seconds = patience_seconds

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serve one websocket, or close it: before it is accepted, or after a wrong first message."""
        handshake = await receive()
        if "prefect" not in scope.get("subprotocols", ()):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        await send({"type": "websocket.accept", "subprotocol": "prefect"})
        try:
            first = await asyncio.wait_for(receive(), self._patience_seconds)
        except TimeoutError:
            first = {"type": "websocket.receive"}
        if first["type"] != "websocket.receive":
            return
        if not self._holds_secret(first):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "Invalid token"})
            return
        received = [handshake, first]

        async def receive_again() -> _Message:
            return received.pop(0) if received else await receive()

        async def send_once_accepted(message: _Message) -> None:
            if message["type"] != "websocket.accept":
                await send(message)

        await self._app(scope, receive_again, send_once_accepted)

    def _holds_secret(self, message: _Message) -> bool:
        try:
            content = json.loads(message.get("text") or message.get("bytes") or b"")
        except (ValueError, RecursionError):
            return False
        return (
            isinstance(content, dict) and content.get("type") == "auth" and self._secret.is_right(content.get("token"))
        )
