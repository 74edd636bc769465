"""Nobody but its owner starts runs on a server of `reeldex up`: no page of another site, no program of another user."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import running_processes
from tests.system.browsers import needs_browser
from tests.system.other_origins import attempts, other_site
from tests.system.running import ReeldexUp
from tests.system.shared_up.conftest import REBOUND

if TYPE_CHECKING:
    from playwright.sync_api import Browser


class Harm:
    """A run that is not to be made, and one whose command would leave a file; and whether any was made or did."""

    def __init__(self, up: ReeldexUp) -> None:
        self._up = up
        self._file = up.folder / "harm"
        self.path = f"/api/deployments/{up.deployment('extract/extract')['id']}/create_flow_run"
        self.plain: dict[str, Any] = {
            "tags": ["harm"],  # a run that begins changes its name
            "state": {"type": "SCHEDULED"},
            "parameters": {"source": "good", "store": "harm"},
        }
        self.command: dict[str, Any] = {**self.plain, "job_variables": {"command": f"touch {self._file}"}}

    def require_none(self) -> None:
        """Fail if a run was made, or if a command left its file."""
        assert self._up.api("/flow_runs/filter", {"flow_runs": {"tags": {"all_": ["harm"]}}}) == []
        assert not self._file.exists()


@pytest.fixture(scope="module")
def harm(up: ReeldexUp) -> Iterator[Harm]:
    """What the attempts of these tests would do; that nothing came of them is seen again after the last one."""
    harm = Harm(up)
    yield harm
    # The server and its worker have then also served all that was asked before.
    up.ended(up.launch("verify/verify", store="nowhere"))
    harm.require_none()


@needs_browser
@pytest.mark.parametrize(
    ("name", "kind"), [("127.0.0.1", "plain"), ("127.0.0.1", "command"), ("localhost", "plain"), (REBOUND, "plain")]
)
def test_a_page_of_another_origin_reaches_nothing(
    up: ReeldexUp, browser: Browser, harm: Harm, name: str, kind: str
) -> None:
    with other_site() as port, browser.new_context() as context:
        page = context.new_page()
        page.goto(up.page_url, wait_until="commit")  # the page need not be drawn
        assert context.cookies(up.url), "its owner is let in"
        page.goto(f"http://{name}:{port}/")
        seen = attempts(page, up.url, harm.path, getattr(harm, kind))
    assert len(seen) == 16
    harm.require_none()
    for attempt, what in seen.items():
        # An opaque answer says nothing, not even its status.
        assert what in ("error", "sent", "closed", "nothing", "opaque 0 ", "another origin's"), (attempt, what)
    assert seen["img"] == "error"
    assert seen["websocket "] != "heard", seen


@needs_browser
def test_a_rebound_name_reaches_nothing(up: ReeldexUp, browser: Browser, harm: Harm) -> None:
    target = up.url.replace("127.0.0.1", REBOUND)
    with browser.new_context() as context:
        page = context.new_page()
        # Even its owner, with the token.
        answer = page.goto(up.page_url.replace("127.0.0.1", REBOUND))
        assert answer is not None
        assert answer.status == 421
        assert context.cookies(target) == []
        seen = attempts(page, target, harm.path, harm.plain)  # to its own origin, as it appears to the browser
    harm.require_none()
    read = {attempt: what for attempt, what in seen.items() if "JSON" in attempt or "read" in attempt}
    assert all("421" in what and '"code":"host"' in what for what in read.values()), read
    assert seen["img"] == "error"


@needs_browser
def test_a_link_of_another_site_opens_the_page_for_its_owner_alone(up: ReeldexUp, browser: Browser) -> None:
    link = """target => {
      const link = document.createElement("a");
      link.href = target; document.body.append(link); link.click();
    }"""
    with other_site() as port, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://{REBOUND}:{port}/")
        page.evaluate(link, f"{up.url}/v2/deployments")
        page.get_by_text("This server requires a secret.").wait_for()
        page.goto(f"http://{REBOUND}:{port}/")
        page.evaluate(link, up.page_url)  # the printed address, in a page of a terminal or of a chat
        page.get_by_text("rerun-failed").first.wait_for()
        page.goto(f"http://{REBOUND}:{port}/")
        page.evaluate(link, f"{up.url}/v2/deployments")
        page.get_by_text("rerun-failed").first.wait_for()


@needs_browser
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_both_pages_work_under_each_name_and_the_token_is_gone(up: ReeldexUp, browser: Browser, name: str) -> None:
    refused, referers = [], []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("response", lambda answer: refused.append(answer.url) if answer.status in (401, 403, 421) else None)
        page.on("request", lambda request: referers.append(request.headers.get("referer")))
        page.goto(up.page_url.replace("127.0.0.1", name))
        page.get_by_text("rerun-failed").first.wait_for()
        assert "token" not in page.url
        (cookie,) = [each for each in context.cookies() if each["name"].startswith("reeldex-")]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert cookie["value"] not in up.secret
        for address in ("/deployments", "/v2/dashboard"):
            page.goto(up.url.replace("127.0.0.1", name) + address)
            page.wait_for_load_state("networkidle")
        page.goto(up.url.replace("127.0.0.1", name) + "/v2/deployments")
        page.get_by_text("rerun-failed").first.wait_for()
    assert refused == []
    assert not any(referers)


def _status(up: ReeldexUp, path: str, body: object, **headers: str) -> int:
    request = urllib.request.Request(  # noqa: S310 - our own server
        up.url + path, data=json.dumps(body).encode(), headers={"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_program_without_the_secret_starts_nothing(up: ReeldexUp, harm: Harm) -> None:
    for body in (harm.plain, harm.command):
        assert _status(up, harm.path, body) == 401
        assert _status(up, harm.path, body, Authorization="Basic cmVlbGRleDp4") == 401
        assert _status(up, harm.path, body, **up.headers, Origin="http://127.0.0.1:1") == 403
    harm.require_none()


def test_not_even_its_owner_says_how_a_run_is_started(up: ReeldexUp, harm: Harm) -> None:
    for variables in (harm.command["job_variables"], {"working_dir": "/"}, {"env": {"PATH": "/"}}):
        assert _status(up, harm.path, {**harm.plain, "job_variables": variables}, **up.headers) == 422
    harm.require_none()


def test_the_secret_is_in_no_log_and_no_argument(up: ReeldexUp) -> None:
    token = up.secret.partition(":")[2]
    assert running_processes(token) == []
    logs = sorted((up.folder / "state" / "reeldex" / "prefect").glob("*.log"))
    assert [each.name for each in logs] == ["server.log", "worker.log"]
    for log in logs:
        assert token not in log.read_text(encoding="utf-8", errors="replace")
    assert (up.folder / "state" / "reeldex" / "server-secret").stat().st_mode & 0o777 == 0o600


def _reeldex(up: ReeldexUp, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reeldex", *arguments],
        cwd=up.folder,
        env={**up.environment, "PREFECT_API_URL": f"{up.url}/api", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_commands_of_its_owner_find_the_secret(up: ReeldexUp) -> None:
    arguments = [
        "extract",
        "good/good 0.mp4",
        "--store",
        "by command",
        "--weights",
        "random",
        "--extractors",
        "wide2d",
    ]
    answer = _reeldex(up, *arguments)
    assert answer.returncode == 0, answer.stderr
    runs = up.api("/flow_runs/filter", {"flow_runs": {"name": {"like_": "extract good 0.mp4"}}})
    assert [run["state_type"] for run in runs] == ["COMPLETED"]


@pytest.mark.parametrize("command", [("up",), ("extract", "good", "--store", "refused", "--weights", "random")])
@pytest.mark.parametrize(
    ("secret", "said"), [({}, "is not set"), ({"PREFECT_API_AUTH_STRING": "a:b"}, "is not the right one")]
)
def test_commands_of_others_are_told_what_they_lack(
    up: ReeldexUp, tmp_path: Path, command: tuple[str, ...], secret: dict[str, str], said: str
) -> None:
    answer = _reeldex(up, *command, XDG_STATE_HOME=str(tmp_path), **secret)
    assert answer.returncode == 2
    assert f"asks for a secret, and PREFECT_API_AUTH_STRING {said}" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_secret_that_others_could_read_is_not_used(up: ReeldexUp, tmp_path: Path) -> None:
    file = tmp_path / "reeldex" / "server-secret"
    file.parent.mkdir()
    file.write_text("reeldex:" + "k" * 43, encoding="ascii")
    file.chmod(0o644)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    answer = _reeldex(up, "up", "--port", port, XDG_STATE_HOME=str(tmp_path), PREFECT_API_URL="")
    assert answer.returncode == 2
    assert "has mode 644" in answer.stderr
