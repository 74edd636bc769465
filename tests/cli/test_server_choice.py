"""`--server` and `--no-server`: which server is used, and what is said when it cannot be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from reeldex.cli.server_choice import uses_server
from reeldex.errors import UsageError
from reeldex.flows.server.configured import find_server, use_server


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def test_without_a_configured_server_there_is_none_unless_it_is_asked_for() -> None:
    assert not uses_server(None, verbose=False)
    assert not uses_server(wanted=False, verbose=False)
    with pytest.raises(UsageError, match=r"no Prefect server is configured\. To configure one, set PREFECT_API_URL"):
        uses_server(wanted=True, verbose=False)


def test_deciding_against_a_server_does_not_import_prefect(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from reeldex.cli.server_choice import uses_server\n"
        "assert not uses_server(None, verbose=False)\n"
        "assert 'prefect' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=dict(os.environ))


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_named_and_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/api"
        monkeypatch.setenv("PREFECT_API_URL", url)
        assert find_server() == url
        with pytest.raises(UsageError, match=rf"server at {url} does not answer: .*--no-server"):
            use_server(url)
        assert not uses_server(wanted=False, verbose=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prefect.toml", '[api]\nurl = "http://lab:1/api"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://lab:1/api"\n'),
        (".env", "PREFECT_API_URL=http://lab:1/api\n"),
    ],
)
def test_a_server_may_be_named_in_a_file_of_the_folder(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    # In a process of its own: Prefect reads these files when it is imported.
    script = "from reeldex.flows.server.configured import find_server\nprint(find_server())\n"
    found = subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout.strip() == "http://lab:1/api"
