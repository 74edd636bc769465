"""Empty databases of Prefect, made once: what a server puts into a new one takes seven seconds of a core."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cache import made_once
from tests.postgresql import dump, dumped_by, restore, running_postgresql

_PREFECT = importlib.metadata.version("prefect")
# What a server does to a new database when it starts: tables, and the types of blocks.
_MAKE = """
import asyncio
from prefect.server.database import provide_database_interface
from prefect.server.models.block_registration import run_block_auto_registration

async def make():
    database = provide_database_interface()
    await database.create_db()
    async with database.session_context() as session:
        await run_block_auto_registration(session=session)
    await (await database.engine()).dispose()

asyncio.run(make())
"""
# For a server with a prepared database.
_NOTHING_TO_REGISTER = {"PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}


def put_empty_database(prefect_home: Path) -> dict[str, str]:
    """Put the SQLite database of a server without runs into a folder for PREFECT_HOME, unless there is one.

    Returns the environment variables for its server, which has nothing to register.
    """
    prefect_home.mkdir(parents=True, exist_ok=True)
    database = prefect_home / "prefect.db"

    def make(path: Path) -> None:
        _make_database({"PREFECT_HOME": str(path.parent)})

    if not database.exists():
        shutil.copyfile(made_once("prefect.db", [_PREFECT, _MAKE], make), database)
    return _NOTHING_TO_REGISTER


def fill_postgresql(url: str) -> dict[str, str]:
    """Fill an empty database of PostgreSQL with what a server without runs puts there.

    Returns the environment variables for its server, which uses that database and has nothing to register.
    """

    def make(path: Path) -> None:
        with running_postgresql() as other:
            _make_database(uses_postgresql(other))
            path.write_text(dump(other), encoding="utf-8")

    restore(url, made_once("prefect.sql", [_PREFECT, _MAKE, *dumped_by()], make).read_text(encoding="utf-8"))
    return uses_postgresql(url) | _NOTHING_TO_REGISTER


def uses_postgresql(url: str) -> dict[str, str]:
    """Return the environment variables for a server that uses this database."""
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url.replace("postgresql://", "postgresql+asyncpg://")}


def _make_database(settings: dict[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with tempfile.TemporaryDirectory() as home:
        environment = {**kept, "HOME": home, **settings}
        command = [sys.executable, "-c", _MAKE]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
