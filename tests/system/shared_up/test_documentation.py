"""Commands of the documentation that need a running `reeldex up`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks_of
from tests.system.running import ReeldexUp

_DOCS = Path(__file__).parents[3] / "docs"
_BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in sorted(_DOCS.rglob("*.md"))
    for number, block in enumerate(blocks_of(page.read_text("utf-8")))
    if block.is_run_on_a_server
]


@pytest.mark.parametrize("block", _BLOCKS)
def test_commands_for_a_running_server_work(up: ReeldexUp, tmp_path: Path, block: Block) -> None:
    # The pages name the default port, and the default folder of the secret.
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local/state").symlink_to(up.folder / "state")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**up.environment, "HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path / "prefect"), "PATH": path}
    del environment["XDG_STATE_HOME"]
    commands = block.body.replace(":4200", f":{up.port}")
    assert commands != block.body
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
