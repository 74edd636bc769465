"""A PostgreSQL server of a test's own, from Debian's package."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PASSWORD = "a/b@c:d"  # noqa: S105 - of a test; a URL has to escape it
_ESCAPED = "a%2Fb%40c%3Ad"
_DUMP = ("pg_dump", "--no-owner")


def is_installed() -> bool:
    """Whether Debian's package is installed."""
    return bool(_installations())


def dump(url: str) -> str:
    """Return the SQL that recreates a database."""
    return _run_client(*_DUMP, url)


def dumped_by() -> list[str]:
    """Return what the SQL of `dump` depends on besides the database: the program, its version and its options."""
    return [*_DUMP, _run_client("pg_dump", "--version")]


def restore(url: str, sql: str) -> None:
    """Fill an empty database with what `dump` returned."""
    _run_client("psql", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", url, stdin=sql)


def _run_client(program: str, *arguments: str, stdin: str = "") -> str:
    path = _installations()[-1].with_name(program)
    done = subprocess.run([path, *arguments], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _installations() -> list[Path]:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Yield the URL of an empty database `prefect` on loopback, which asks for a password.

    Skips the test where the package is not installed. PostgreSQL refuses to run as root, which then becomes `postgres`.
    """
    programs = _installations()
    if not programs:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    folder = programs[-1].parent
    become = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Not in pytest's folder, which `postgres` may not enter; the path of a socket is short.
    home = Path(tempfile.mkdtemp(prefix="reeldex-pg-"))
    (home / "password").write_text(_PASSWORD, encoding="utf-8")

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*become, str(folder / program), *arguments], cwd=home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        if become:
            shutil.chown(home, "postgres")
            shutil.chown(home / "password", "postgres")
        data = str(home / "data")
        secure = ["--auth-host", "scram-sha-256", "--auth-local", "trust", "--pwfile", str(home / "password")]
        run("initdb", "--pgdata", data, "--username", "prefect", "--no-sync", *secure)
        options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "--pgdata", data, "--wait", "--log", str(home / "log"), "--options", options, "start")
        try:
            run("createdb", "--host", str(home), "--port", str(port), "--username", "prefect", "prefect")
            yield f"postgresql://prefect:{_ESCAPED}@127.0.0.1:{port}/prefect"
        finally:
            run("pg_ctl", "--pgdata", data, "--wait", "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(home)
