import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeVideo
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
            return True
    except OSError:
        return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server of its own on loopback; gives the environment that names it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    try:
        log_text = (tmp_path / "server.log").read_text
        wait_until(lambda: _answers(f"{url}/health"), 120, process=process, details=log_text)
        yield {**environment, "PREFECT_API_URL": url}
    finally:
        process.terminate()
        process.wait(30)


def test_a_run_is_recorded_by_the_server_that_the_settings_name(
    tmp_path: Path, make_video: MakeVideo, server: dict[str, str]
) -> None:
    make_video(tmp_path / "videos" / "a.mp4", seconds=0.3)
    arguments = ["extract", "videos", "--store", "store", "--weights", "random", "--extractors", "resnet152"]
    answer = subprocess.run(
        [sys.executable, "-m", "reeldex", *arguments],
        cwd=tmp_path,
        env=server,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{server['PREFECT_API_URL']}/flow_runs/filter", data=b"{}", headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        runs = response.read().decode()
    assert '"state_type":"COMPLETED"' in runs
    assert "videos" in runs
