"""An empty database of Prefect, made once: what a server puts into a new one takes seven seconds of a core."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from tests.cache import CACHE

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


def put_empty_database(prefect_home: Path) -> dict[str, str]:
    """Put the database of a server without runs into a folder for PREFECT_HOME, unless there is one.

    Returns the environment variables for its server, which has nothing to register.
    """
    prefect_home.mkdir(parents=True, exist_ok=True)
    database = prefect_home / "prefect.db"
    if not database.exists():
        shutil.copyfile(_template(), database)
    return {"PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}


def _template() -> Path:
    made = hashlib.sha256(_MAKE.encode()).hexdigest()[:8]
    template = CACHE / f"prefect-{importlib.metadata.version('prefect')}-{made}.db"
    template.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{template}.lock"):
        if not template.exists():
            with tempfile.TemporaryDirectory(dir=template.parent) as folder:
                kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
                environment = {**kept, "PREFECT_HOME": folder, "HOME": folder}
                command = [sys.executable, "-c", _MAKE]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                (Path(folder) / "prefect.db").replace(template)
    return template
