"""An empty database of Prefect, made once: its migrations would take each server of a test five seconds of a core."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from tests.cache import CACHE


def put_empty_database(prefect_home: Path) -> None:
    """Put the database of a server without runs into a folder for PREFECT_HOME, unless there is one."""
    prefect_home.mkdir(parents=True, exist_ok=True)
    database = prefect_home / "prefect.db"
    if not database.exists():
        shutil.copyfile(_template(), database)


def _template() -> Path:
    template = CACHE / f"prefect-{importlib.metadata.version('prefect')}.db"
    template.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{template}.lock"):
        if not template.exists():
            with tempfile.TemporaryDirectory(dir=template.parent) as folder:
                kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
                environment = {**kept, "PREFECT_HOME": folder, "HOME": folder}
                command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                (Path(folder) / "prefect.db").replace(template)
    return template
