"""Empty databases of Prefect, made once: what a server puts into a new one takes seven seconds of a core."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tests.cache import CACHE
from tests.system.postgresql import dump, restore, running_postgresql

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
# For a server whose database is a ready one.
_NOTHING_TO_REGISTER = {"PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}


def put_empty_database(prefect_home: Path) -> dict[str, str]:
    """Put the SQLite database of a server without runs into a folder for PREFECT_HOME, unless there is one.

    Returns the environment variables for its server, which has nothing to register.
    """
    prefect_home.mkdir(parents=True, exist_ok=True)
    database = prefect_home / "prefect.db"

    def make(folder: Path) -> None:
        _make_database({"PREFECT_HOME": str(folder)})

    if not database.exists():
        shutil.copyfile(_made_once("prefect.db", make), database)
    return _NOTHING_TO_REGISTER


def fill_postgresql(url: str) -> dict[str, str]:
    """Fill an empty database of PostgreSQL with what a server without runs puts there.

    Returns the environment variables for its server, which uses that database and has nothing to register.
    """

    def make(folder: Path) -> None:
        with running_postgresql() as other:
            _make_database(_names(other))
            (folder / "prefect.sql").write_text(dump(other), encoding="utf-8")

    restore(url, _made_once("prefect.sql", make).read_text(encoding="utf-8"))
    return _names(url) | _NOTHING_TO_REGISTER


def _names(postgresql_url: str) -> dict[str, str]:
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": postgresql_url.replace("postgresql://", "postgresql+asyncpg://")}


def _made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a file that `make` left under its name in the folder that it was given, now or in an earlier run."""
    # "prefect.db" becomes "prefect-3.9.1-007108d9.db".
    version = f"{importlib.metadata.version('prefect')}-{hashlib.sha256(_MAKE.encode()).hexdigest()[:8]}"
    made = CACHE / f"{Path(name).stem}-{version}{Path(name).suffix}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{made}.lock"):
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=made.parent) as folder:
                make(Path(folder))
                (Path(folder) / name).replace(made)
    return made


def _make_database(settings: dict[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with tempfile.TemporaryDirectory() as home:
        environment = {**kept, "HOME": home, **settings}
        command = [sys.executable, "-c", _MAKE]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
