"""Where a request comes from, by the headers that a browser sets and a page cannot: Host, Origin, Sec-Fetch-*."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from reeldex.search.page.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import Scope

_LARGEST_HEADERS_BYTES = 32 * 1024
_MOST_HEADERS = 100
# What a page of another origin may send without asking first: by a form, or by fetch in the mode no-cors.
_FORM_TYPES = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.ASCII)
_USUAL_PORTS = {"http": "80", "https": "443"}


class RequestSource:
    """Where one request or websocket handshake comes from. Raises Problem if it is not to be answered at all.

    - `only_reads`: it changes nothing.
    - `is_browser`: a browser sent it; nothing else sets these headers.
    - `is_foreign_navigation`: a page of another origin leads the browser here, by a link or a script. That page gets
      to see nothing of the answer.
    - `may_use_cookie`: its cookie counts, since a page of this server's own origin, the user, or such a link, which
      only reads, made the browser send it.
    """

    def __init__(self, scope: Scope, host_names: Collection[str]) -> None:
        self._headers = Headers(scope=scope)
        _require_moderate(scope)
        own_origins = _own_origins(scope["scheme"], self._own_host(host_names))
        origin = self._only("origin")
        if origin is not None and origin.lower() not in own_origins:
            raise _other_site()
        is_websocket = scope["type"] == "websocket"
        self.only_reads = not is_websocket and scope["method"] in {"GET", "HEAD"}
        sites = set(self._headers.getlist("sec-fetch-site"))
        # A browser's websocket always names its origin; what browsers call its site differs.
        is_own = sites <= {"same-origin", "none"} or (is_websocket and origin is not None)
        self.is_foreign_navigation = not is_own and self._is_top_navigation()
        if not is_own and not self.is_foreign_navigation:
            raise _other_site()
        self.is_browser = origin is not None or bool(sites)
        # Whatever may change something names its origin.
        self.may_use_cookie = origin is not None or (self.only_reads and bool(sites))

    @property
    def wants_page(self) -> bool:
        """Whether a person is to read the answer."""
        return "text/html" in self._headers.get("accept", "")

    def require_page_for_links(self, is_page: bool) -> None:  # noqa: FBT001 - it answers the name
        """Raise Problem if another site's page leads the browser to something that is no page."""
        if self.is_foreign_navigation and not is_page:
            raise _other_site()

    def require_no_form(self) -> None:
        """Raise Problem if this may change something, by a body that a form of any page could send."""
        kind = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        if not self.only_reads and kind in _FORM_TYPES:
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "media_type",
                f"A body of type {kind} is not read here. Send JSON, with the header Content-Type: application/json.",
            )

    def _own_host(self, host_names: Collection[str]) -> str:
        # A page elsewhere could reach this server under a name of its own that resolves to this machine.
        match = _HOST.fullmatch((self._only("host") or "").lower())
        if match is None or match["name"] not in host_names:
            names = ", ".join(sorted(host_names))
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "host",
                f"This server answers to {names} only. Use one of these in the address.",
            )
        return match[0]

    def _only(self, name: str) -> str | None:
        values = self._headers.getlist(name)
        if len(values) > 1:
            raise Problem(HTTPStatus.BAD_REQUEST, "headers", f"The request has {len(values)} headers {name}.")
        return values[0] if values else None

    def _is_top_navigation(self) -> bool:
        mode, kind = (self._headers.getlist(f"sec-fetch-{name}") for name in ("mode", "dest"))
        return self.only_reads and mode == ["navigate"] and kind == ["document"]


def _require_moderate(scope: Scope) -> None:
    if not scope["path"].startswith("/"):
        raise Problem(HTTPStatus.BAD_REQUEST, "target", "Ask for a path, such as /: this server is no proxy.")
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if size > _LARGEST_HEADERS_BYTES or len(headers) > _MOST_HEADERS:
        raise Problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers",
            f"The request has {len(headers)} headers of {size} bytes; at most {_MOST_HEADERS} of "
            f"{_LARGEST_HEADERS_BYTES} bytes are read. In a browser, delete the cookies of this address.",
        )


def _own_origins(scheme: str, host: str) -> set[str]:
    """Return how the origin of `host` may be written: browsers leave a scheme's usual port out."""
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    return {f"{scheme}://{host}", f"{scheme}://{host.removesuffix(':' + _USUAL_PORTS.get(scheme, ''))}"}


def _other_site() -> Problem:
    return Problem(HTTPStatus.FORBIDDEN, "cross_site", "Another site's page asked for this; it is not given to it.")
