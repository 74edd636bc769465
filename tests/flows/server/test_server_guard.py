"""What reaches a Prefect server of ours, byte by byte: hosts, origins, the secret, websockets."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from reeldex.errors import UsageError
from reeldex.flows.server.access import guarded, prepare_access
from reeldex.flows.server.secret_file import CLIENT_VARIABLE
from tests.flows.guarded_server import SECRET, Guarded, RecordingApp, guarded_server

OWNER = f"Authorization: Basic {base64.b64encode(SECRET.encode()).decode()}"
TOKEN = SECRET.removeprefix("reeldex:")
RUN = "/api/deployments/1/create_flow_run"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    with guarded_server(monkeypatch) as running:
        yield running


def cookie_of(server: Guarded, target: str = "/") -> str:
    """Return the Cookie header that a browser sends after it has opened the printed address."""
    _, answer = server.ask(f"{target}?token={TOKEN}")
    found = re.search(r"^set-cookie: ([^;\r]+)", answer, re.MULTILINE | re.IGNORECASE)
    assert found, answer
    return f"Cookie: {found[1]}"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:{port}", "LocalHost:{port}", "localhost", "[::1]:9", "127.0.0.1:1"]
)
def test_loopback_is_answered_under_its_names(server: Guarded, host: str) -> None:
    assert server.ask("/api/flows", OWNER, host=host.format(port=server.port))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "127.0.0.1.evil.example",
        "localhost.:{port}",
        "localhost@evil.example",
        "evil.example@127.0.0.1",
        "0.0.0.0:{port}",
        "127.1:{port}",
        "2130706433:{port}",
        "[0:0:0:0:0:0:0:1]:{port}",
        "127.0.0.1:{port}:80",
        "127.0.0.1:",
        "127.0.0.1:port",
        "127.0.0.1 ",
        "localhost%2eevil",
        "\u217cocalhost".encode().decode("latin-1"),
    ],
)
def test_no_other_host_is_answered_even_to_the_owner(server: Guarded, host: str) -> None:
    status, answer = server.ask("/api/flows", OWNER, host=host.format(port=server.port))
    # Spaces around a header's value are no part of it.
    assert status in ({200} if host.endswith(" ") else {400, 421}), answer
    assert ("the application" in answer) == (status == 200)
    assert server.handshake(OWNER, host=host.format(port=server.port)) == (
        101 if status == 200 else status if status == 400 else 403
    )


@pytest.mark.parametrize("host", [None, "a"])
def test_a_host_is_named_once(server: Guarded, host: str | None) -> None:
    extra = [] if host is None else [f"Host: 127.0.0.1:{server.port}"]
    assert server.ask("/api/flows", OWNER, *extra, host=host)[0] == 400
    assert server.app.seen == []


@pytest.mark.parametrize(
    "target", ["http://evil.example/api/flows", "http://127.0.0.1/api/flows", "*", "evil.example:443"]
)
def test_only_paths_are_answered(server: Guarded, target: str) -> None:
    assert server.ask(target, OWNER)[0] == 400
    assert server.app.seen == []


FOREIGN = [
    "null",
    "http://evil.example",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1:{other}",
    "http://127.0.0.1",
    "http://localhost:{port}",
    "http://[::1]:{port}",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}/",
    "http://evil@127.0.0.1:{port}",
    "",
    "file://",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_no_other_origin_is_answered_even_with_the_secret(server: Guarded, origin: str) -> None:
    line = "Origin: " + origin.format(port=server.port, other=server.port + 1)
    cookie = cookie_of(server)
    for headers in ([OWNER], [cookie], [OWNER, cookie]):
        assert server.ask("/api/flows", line, *headers)[0] == 403
        assert server.ask(RUN, line, "Content-Type: application/json", *headers, method="POST")[0] == 403
        assert server.ask(RUN, line, "Access-Control-Request-Method: POST", *headers, method="OPTIONS")[0] == 403
        assert server.handshake(line, *headers) == 403
    assert server.app.seen == []


def test_two_origins_are_none(server: Guarded) -> None:
    own = f"Origin: http://127.0.0.1:{server.port}"
    assert server.ask("/api/flows", OWNER, own, "Origin: http://evil.example")[0] == 400
    assert server.handshake(OWNER, own, "Origin: http://evil.example") in (400, 403)
    assert server.app.seen == []


def test_a_page_of_the_own_origin_is_answered(server: Guarded) -> None:
    own, cookie = f"Origin: http://127.0.0.1:{server.port}", cookie_of(server)
    json = "Content-Type: application/json"
    status, answer = server.ask(RUN, own, cookie, json, "Sec-Fetch-Site: same-origin", method="POST")
    assert status == 200
    assert "access-control-allow-origin" not in answer.lower(), "no other origin is given anything"
    assert server.ask("/api/flows", cookie, "Sec-Fetch-Site: same-origin")[0] == 200
    assert server.ask("/", cookie, "Sec-Fetch-Site: none")[0] == 200
    assert server.handshake(own, cookie) == 101
    localhost = f"localhost:{server.port}"
    assert server.ask(RUN, f"Origin: http://{localhost}", cookie, json, method="POST", host=localhost)[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense", ""])
@pytest.mark.parametrize(
    "kind", [("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe"), ("navigate", "object")]
)
def test_what_other_sites_pages_embed_is_refused(server: Guarded, site: str, kind: tuple[str, str]) -> None:
    mode, dest = kind
    headers = [f"Sec-Fetch-Site: {site}", f"Sec-Fetch-Mode: {mode}", f"Sec-Fetch-Dest: {dest}", cookie_of(server)]
    for target in ("/", "/api/flows", "/assets/x.js"):
        assert server.ask(target, *headers)[0] == 403
    assert server.app.seen == []


def test_a_link_of_another_site_leads_to_a_page_alone(server: Guarded) -> None:
    link = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html"]
    status, answer = server.ask("/v2/deployments", *link)
    assert status == 401, "a browser sends no strict cookie along with such a link"
    assert '<meta http-equiv="refresh" content="0">' in answer, "so the page leads on to itself"
    status, answer = server.ask("/v2/deployments", *link[1:], "Sec-Fetch-Site: same-origin")
    assert status == 401
    assert "refresh" not in answer, "once"
    cookie = cookie_of(server)
    assert server.ask("/v2/deployments", *link, cookie)[0] == 200
    assert server.ask("/api/flows", *link, cookie)[0] == 403
    assert server.ask("/v2/deployments", *link, cookie, method="POST")[0] == 403


def test_without_the_secret_only_health_is_answered(server: Guarded) -> None:
    for target in (
        "/",
        "/api/flows",
        "/api/health/",
        "/api//health",
        "/ui-settings",
        "/api/ready",
        "/assets/x.js",
        "/docs",
    ):
        assert server.ask(target)[0] == 401, target
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert server.ask(RUN, "Content-Type: application/json", method=method)[0] == 401
    assert server.app.seen == []
    assert server.ask("/api/health")[0] == 200
    assert server.ask("/api/health", "Origin: http://evil.example")[0] == 403


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Basic " + base64.b64encode(b"reeldex:" + b"k" * 42).decode(),
        "Authorization: Basic " + base64.b64encode(b"reeldex:" + b"k" * 44).decode(),
        "Authorization: Basic " + base64.b64encode(b"").decode(),
        "Authorization: Basic \xff\xff",
        "Authorization: Basic",
        f"Authorization: Bearer {SECRET}",
        f"Authorization: {SECRET}",
        f"{OWNER}\r\n{OWNER}",
        f"Cookie: token={TOKEN}",
        f"Cookie: {SECRET}",
    ],
)
def test_a_wrong_secret_is_no_secret(server: Guarded, header: str) -> None:
    assert server.ask("/api/flows", header)[0] in (400, 401)
    assert server.ask("/api/flows", header, "Sec-Fetch-Site: none")[0] in (400, 401)
    assert server.app.seen == []


def test_a_cookie_alone_is_no_secret(server: Guarded) -> None:
    cookie = cookie_of(server)
    assert server.ask("/api/flows", cookie)[0] == 401, "nothing says whose page asked for it"
    json = "Content-Type: application/json"
    assert server.ask(RUN, cookie, json, "Sec-Fetch-Site: none", method="POST")[0] == 401, (
        "what changes names its origin"
    )
    assert server.handshake(cookie) == 403
    name = cookie.partition("=")[0]
    wrong = f"{name}={'0' * 64}"
    assert server.ask("/api/flows", wrong, "Sec-Fetch-Site: same-origin")[0] == 401
    both = f"{wrong}; {cookie.removeprefix('Cookie: ')}"
    assert server.ask("/api/flows", both, "Sec-Fetch-Site: same-origin")[0] == 200, "another port set one of that name"


def test_the_token_becomes_a_cookie_and_leaves_the_address(server: Guarded) -> None:
    status, answer = server.ask(f"/v2/runs?tab=Logs&token={TOKEN}&x=a%20b")
    assert status == 303
    headers = answer.lower()
    assert "location: /v2/runs?tab=logs&x=a+b\r\n" in headers
    assert "; path=/; httponly; samesite=strict\r\n" in headers
    assert "referrer-policy: no-referrer" in headers
    assert "cache-control: no-store" in headers
    assert TOKEN not in answer, "the cookie is not the secret"
    for hostile in ("//evil.example/", "/\\evil.example", "///evil.example"):
        location = re.search(r"^location: (.*)\r$", server.ask(f"{hostile}?token={TOKEN}")[1], re.MULTILINE)
        assert location is None or re.match(r"/[^/\\]", location[1]), location
    assert server.ask(f"/?token={TOKEN[:-1]}")[0] == 401
    assert server.ask(f"/api/flows?token={TOKEN}")[0] == 401, "it opens pages alone"
    assert server.app.seen == []


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "Multipart/Form-Data; boundary=x"],
)
def test_bodies_that_a_form_can_send_are_refused(server: Guarded, kind: str) -> None:
    own = f"Origin: http://127.0.0.1:{server.port}"
    for headers in ([OWNER], [own, cookie_of(server)]):
        assert server.ask(RUN, f"Content-Type: {kind}", *headers, method="POST")[0] == 415
    assert server.app.seen == []


def test_oversized_headers_are_refused(server: Guarded) -> None:
    assert server.ask("/api/flows", OWNER, "X: " + "a" * 40_000)[0] == 431
    assert server.ask("/api/flows", OWNER, *(f"X-{number}: a" for number in range(120)))[0] == 431
    assert server.ask("/api/flows", OWNER, "X: " + "a" * 500_000)[0] in (400, 431)
    assert server.app.seen == []


def test_every_answer_keeps_other_sites_out(server: Guarded) -> None:
    for target, *headers in (("/", OWNER), ("/",), ("/api/health",), ("/", "Origin: null")):
        answer = server.ask(target, *headers)[1].lower()
        for said in (
            "x-content-type-options: nosniff",
            "frame-ancestors 'none'",
            "cross-origin-resource-policy: same-origin",
        ):
            assert said in answer


def test_websockets_of_programs_need_the_secret(server: Guarded) -> None:
    assert server.handshake() == 403
    assert server.handshake("Sec-WebSocket-Protocol: other") == 403
    assert server.handshake("Sec-Fetch-Site: cross-site", "Sec-WebSocket-Protocol: prefect") == 403
    own = f"Origin: http://127.0.0.1:{server.port}"
    assert server.handshake(own, "Sec-WebSocket-Protocol: prefect") == 403, "browsers have the cookie or nothing"
    assert server.app.seen == []
    assert server.handshake(OWNER) == 101


def _say(server: Guarded, *messages: str) -> list[str]:
    """Connect as Prefect's clients do and say this; return what was answered after the first message."""

    async def talk() -> list[str]:
        url = f"ws://127.0.0.1:{server.port}/api/logs/out"
        async with connect(url, subprotocols=["prefect"], proxy=None) as socket:  # type: ignore[list-item]
            heard = []
            for message in messages:
                await socket.send(message)
                heard.append(str(await socket.recv()))
            return heard

    return asyncio.run(talk())


def test_the_first_message_of_a_prefect_client_is_its_secret(server: Guarded) -> None:
    right = f'{{"type": "auth", "token": "{SECRET}"}}'
    assert _say(server, right, "more") == [f"heard {right}", "heard more"]
    assert server.app.seen == ["WEBSOCKET /api/logs/out"]


@pytest.mark.parametrize(
    "first",
    ['{"type": "auth", "token": null}', '{"type": "auth", "token": "x"}', f'{{"token": "{SECRET}"}}', "{", "[" * 99999],
)
def test_another_first_message_closes_it(server: Guarded, first: str) -> None:
    with pytest.raises((ConnectionClosed, InvalidStatus)):
        _say(server, first)
    assert server.app.seen == []


def test_without_a_secret_hosts_and_origins_are_still_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded_server(monkeypatch, no_secret=True) as server:
        assert server.ask("/api/flows")[0] == 200
        assert server.handshake() == 101
        assert server.ask("/api/flows", host="evil.example")[0] == 421
        assert server.ask("/api/flows", "Origin: http://evil.example")[0] == 403
        assert server.handshake(f"Origin: http://127.0.0.1:{server.port + 1}") == 403
        assert server.ask(RUN, "Content-Type: text/plain", method="POST")[0] == 415


def test_a_server_is_never_open_by_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CLIENT_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=CLIENT_VARIABLE):
        guarded(RecordingApp(), no_secret=False)
    monkeypatch.setenv(CLIENT_VARIABLE, "")
    with pytest.raises(UsageError, match=CLIENT_VARIABLE):
        guarded(RecordingApp(), no_secret=False)


def test_what_a_user_has_set_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in (CLIENT_VARIABLE, "PREFECT_UI_API_URL"):
        monkeypatch.setenv(name, "before")  # so that it is restored
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    own = prepare_access("http://127.0.0.1:1/api")
    assert own.secret is not None
    assert own.options == []
    assert own.browser_url("/x") == f"http://127.0.0.1:1/x?token={own.secret.removeprefix('reeldex:')}"
    assert own.secret not in str(own)
    opened = prepare_access("http://127.0.0.1:1/api", no_secret=True)
    assert (opened.secret, opened.options) == (None, ["--no-secret"])
    assert "execute any command" in str(opened)
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:mine")
    assert prepare_access("http://127.0.0.1:1/api").browser_url("/x") == "http://127.0.0.1:1/x"
