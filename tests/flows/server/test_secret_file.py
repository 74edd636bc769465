"""Where the secret of this user's servers is stored, and which servers receive it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reeldex.errors import UsageError
from reeldex.flows.server import known_servers
from reeldex.flows.server.known_servers import find_secret, is_running_server
from reeldex.flows.server.secret_file import CLIENT_VARIABLE, load_or_make_secret, load_secret, secret_file

URL = "http://127.0.0.1:4321/api"


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "server-secret"
    before = os.umask(0)
    try:
        made = load_or_make_secret(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_make_secret(path) == made
    assert [each.name for each in path.parent.iterdir()] == ["server-secret"]
    assert load_or_make_secret(tmp_path / "other") != made


def test_it_is_never_there_with_another_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    real = os.open

    def watched(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        return descriptor

    before = os.umask(0)
    monkeypatch.setattr(os, "open", watched)
    try:
        load_or_make_secret(tmp_path / "server-secret")
    finally:
        os.umask(before)
    assert set(modes) == {0o600}


def test_processes_that_start_together_have_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        made = pool.map(load_or_make_secret, [tmp_path / "server-secret"] * 12)
    assert len(set(made)) == 1


def _load_or_make_without_links(path: Path) -> str:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", refused)
        return load_or_make_secret(path)


@pytest.mark.slow
def test_processes_on_a_file_system_without_hard_links_have_one_too(tmp_path: Path) -> None:
    # No such file system can be mounted in a test; each process refuses links as exFAT does.
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        made = pool.map(_load_or_make_without_links, [tmp_path / "server-secret"] * 12)
    assert len(set(made)) == 1
    assert load_secret(tmp_path / "server-secret") == made[0]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606, 0o660])
def test_one_that_others_could_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "server-secret"
    load_or_make_secret(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match=rf"has mode {mode:o}: others may have read it\. Remove it"):
        load_or_make_secret(path)


@pytest.mark.parametrize("content", ["", "\n", "reeldex:short", "reeldex:" + "ü" * 43, "x" * 100_000])
def test_a_damaged_one_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "server-secret"
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="is damaged"):
        load_secret(path)


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    load_or_make_secret(target)
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(UsageError, match="Remove it"):
            load_secret(tmp_path / name)


def test_it_is_found_for_a_server_of_this_user_while_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv(CLIENT_VARIABLE, "to be restored")
    monkeypatch.delenv(CLIENT_VARIABLE)
    made = load_or_make_secret(secret_file())
    code = f"from reeldex.flows.server.known_servers import announce; announce({URL!r}); print(flush=True); input()"
    server = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    for other in (
        "http://127.0.0.1:4322/api",
        "http://evil.example:4321/api",
        "https://127.0.0.1:4321/api",
        "http://127.0.0.1/api",
        "http://127.0.0.1:port/api",
        "nonsense",
    ):
        find_secret(other)
        assert CLIENT_VARIABLE not in os.environ, other
    find_secret(URL.replace("127.0.0.1", "localhost"))
    assert os.environ[CLIENT_VARIABLE] == made
    monkeypatch.setenv(CLIENT_VARIABLE, "of the user")
    find_secret(URL)
    assert os.environ[CLIENT_VARIABLE] == "of the user"
    server.kill()
    server.communicate()
    monkeypatch.delenv(CLIENT_VARIABLE)
    find_secret(URL)
    assert CLIENT_VARIABLE not in os.environ, "the port may be another user's now"
    assert not is_running_server(URL)


@pytest.mark.slow
def test_a_second_server_on_the_same_port_is_refused_and_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    known_servers.announce("http://127.0.0.1:4200/api")
    assert known_servers.is_running_server("http://127.0.0.1:4200/api")
    with pytest.raises(UsageError, match="another `reeldex up` with this port"):
        known_servers.announce("http://127.0.0.1:4200/api")
    # The home folder may be shared by another machine, where the port is anybody's.
    monkeypatch.setattr("socket.gethostname", lambda: "otherhost")
    assert not known_servers.is_running_server("http://127.0.0.1:4200/api")
