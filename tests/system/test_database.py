"""`reeldex up` on PostgreSQL, as a lab runs it, and with settings that only a Prefect profile holds."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeVideo
from tests.postgresql import running_postgresql
from tests.prefect_database import uses_postgresql
from tests.system.running import ReeldexUp

PIPELINE = """
extract: {weights: random, extractors: [wide2d], shard_videos: 2}
compute: {device: cpu, retries: 1, retry_delay_seconds: 1.0}
"""


@pytest.fixture
def running(tmp_path: Path, make_video: MakeVideo) -> Iterator[ReeldexUp]:
    """A `reeldex up` to be started, in a folder with two videos."""
    up = ReeldexUp(tmp_path / "up", PIPELINE)
    up.makes_database = True
    for index in range(2):
        make_video(up.folder / "good" / f"good {index}.mp4", seconds=0.5)
    yield up
    if up.process is not None and up.process.poll() is None:
        up.stop()


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """The URL of a database in PostgreSQL."""
    with running_postgresql() as url:
        yield url


def test_postgresql_holds_the_runs_and_a_restart_finds_them(running: ReeldexUp, postgres_url: str) -> None:
    running.start("--database", postgres_url)
    said = (running.folder / "up.log").read_text(encoding="utf-8")
    assert "its database is postgresql+asyncpg://prefect:***@127.0.0.1" in said
    assert postgres_url.partition("@")[0] not in said
    run = running.launch("extract/extract", source="good", store="store")
    assert running.ended(run)["name"] == "Completed"
    killed = running.launch("extract/extract", source="good", store="other")
    os.kill(running.process_of(killed), signal.SIGKILL)
    assert running.ended(killed, 120)["type"] == "CRASHED"
    assert running.retry(killed)["name"] == "Completed"
    assert not list((running.folder / "state").rglob("*.db"))
    assert running.stop() == 0
    # Prefect's own setting names the same database.
    running.environment |= uses_postgresql(postgres_url)
    running.start()
    assert running.run(run)["state"]["name"] == "Completed"
    assert running.stop() == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/prefect", "--database must begin with postgresql://"),
        ("postgresql://prefect@127.0.0.1:1/prefect", "cannot be used:"),
        ("postgresql://prefect@127.0.0.1:port/prefect", "The URL of the database cannot be read"),
        ("/var/lib/prefect.db", "--database must begin with postgresql://"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_at_once(running: ReeldexUp, url: str, said: str) -> None:
    refused = _up(running, "--database", url)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_wrong_password_is_said_and_not_repeated(running: ReeldexUp, postgres_url: str) -> None:
    refused = _up(running, "--database", postgres_url.replace(":a%2F", ":wrong%2F"))
    assert refused.returncode == 2
    assert "password authentication failed" in refused.stderr
    assert "wrong" not in refused.stderr


def test_a_database_is_refused_for_a_server_that_is_not_started_here(running: ReeldexUp) -> None:
    running.environment["PREFECT_API_URL"] = f"{running.url}/api"
    refused = _up(running, "--database", "postgresql://127.0.0.1/prefect")
    assert refused.returncode == 2
    assert "--database is for a server that is started here" in refused.stderr


def test_settings_of_a_profile_reach_the_server_and_its_clients(running: ReeldexUp) -> None:
    database = running.folder / "own.db"
    profiles = running.folder / "home" / ".prefect" / "profiles.toml"
    profiles.parent.mkdir(parents=True)
    profiles.write_text(
        'active = "lab"\n[profiles.lab]\nPREFECT_SERVER_API_AUTH_STRING = "me:of the profile"\n'
        f'PREFECT_API_DATABASE_CONNECTION_URL = "sqlite+aiosqlite:///{database}"\n',
        encoding="utf-8",
    )
    running.start()
    assert "the password that PREFECT_SERVER_API_AUTH_STRING sets" in running.said()
    secret = running.folder / "state" / "reeldex" / "server-secret"  # what the test sends
    secret.write_text("me:another", encoding="ascii")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        running.api("/work_pools/filter", {})
    secret.write_text("me:of the profile", encoding="ascii")
    run = running.launch("extract/extract", source="good", store="store")
    assert running.ended(run)["name"] == "Completed"
    secret.unlink()
    # Commands of the same user need nothing else.
    environment = {**running.environment, "PREFECT_API_URL": f"{running.url}/api"}
    again = _reeldex(running, environment, "extract", "good", "--store", "store", "--server")
    assert again.returncode == 0, again.stderr
    with sqlite3.connect(database) as connection:
        assert connection.execute("select count(*) from flow_run").fetchone() == (2,)


def _up(running: ReeldexUp, *options: str) -> subprocess.CompletedProcess[str]:
    return _reeldex(running, running.environment, "up", "--port", str(running.port), *options)


def _reeldex(running: ReeldexUp, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reeldex", *arguments],
        cwd=running.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
