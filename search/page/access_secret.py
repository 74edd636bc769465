"""Authentication of requests by a shared secret: a Basic header, a cookie, or a token in the first URL."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.types import Scope

TOKEN_PARAMETER = "token"  # noqa: S105 - a name


class AccessSecret:
    """A secret of the form `user:token`, and a `hint` where to find it.

    Comparisons take constant time. The cookie is derived from the secret: browsers send cookies to every port of a
    host, and the secret must not go there. Raises ValueError if it is empty.
    """

    def __init__(self, text: str, hint: str) -> None:
        if not text:
            raise ValueError("The secret is empty, so anyone could guess it.")
        self._text = text
        self.hint = hint
        self.cookie_name = f"reeldex-{self._derive('cookie name')[:8]}"
        self._cookie = self._derive("cookie")

    def __repr__(self) -> str:
        return "AccessSecret(...)"

    @property
    def token(self) -> str:
        """The token for the URL that a browser opens first."""
        return self._text.partition(":")[2] or self._text

    def is_right(self, guess: object) -> bool:
        """Whether `guess` is the secret."""
        return isinstance(guess, str) and _same(guess, self._text)

    def is_in_header(self, scope: Scope) -> bool:
        """Whether the Authorization header (Basic) holds the secret."""
        values = Headers(scope=scope).getlist("authorization")
        if len(values) != 1:
            return False
        kind, _, code = values[0].partition(" ")
        try:
            guess = base64.b64decode(code.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return False
        return kind.lower() == "basic" and self.is_right(guess)

    def is_in_cookie(self, scope: Scope) -> bool:
        """Whether one of the cookies is the one that `set_cookie` sets."""
        # A server on another port of this host may have set one of the same name.
        cookies = "; ".join(Headers(scope=scope).getlist("cookie")).split(";")
        pairs = (cookie.strip().partition("=") for cookie in cookies)
        return any(_same(value, self._cookie) for name, _, value in pairs if name == self.cookie_name)

    def set_cookie(self) -> str:
        """Return the value of the Set-Cookie header. The cookie lasts as long as the browser's session."""
        return f"{self.cookie_name}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"

    def is_in_query(self, scope: Scope) -> bool:
        """Whether the URL has the token."""
        return any(name == TOKEN_PARAMETER and _same(value, self.token) for name, value in _query(scope))

    def _derive(self, purpose: str) -> str:
        return hmac.new(self._text.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def without_token(scope: Scope) -> str:
    """Return a request's path and query without the token, as the target of a redirect."""
    # More slashes at the beginning, or backslashes, would name another host.
    path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0].lstrip("/\\")
    query = urlencode([(name, value) for name, value in _query(scope) if name != TOKEN_PARAMETER])
    return f"{path}?{query}" if query else path


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="replace")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
