"""`--log-format json`: every line on standard error is a JSON object."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reeldex.cli import terminal
from reeldex.cli.main import main
from reeldex.flows.config.monitoring import MonitoringConfig
from reeldex.flows.execution.logs import OUR_LOGGER, JsonLines, logs_as_json
from reeldex.flows.monitoring.run_file import FOLDER_VARIABLE
from reeldex.flows.progress.progress import current_sinks
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.server import settings
from tests.conftest import MakeVideo, Reeldex
from tests.flows.stores import RANDOM


def lines(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for each in found:
        assert set(each) >= {"time", "level", "logger", "message", "process"}
        assert each["time"].endswith("+00:00")
    return found


@pytest.mark.slow
def test_an_extraction_logs_objects_alone(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "videos/a.mp4", seconds=0.5)
    (tmp_path / "videos/b\n.mp4").write_bytes(b"not a video")
    network = (*RANDOM, "--extractors", "wide2d")
    answer = reeldex(
        "extract", tmp_path / "videos", "--store", tmp_path / "s", *network, "--log-format", "json", "--json"
    )
    assert answer.status == 1
    assert answer.json["extracted_failed"] == 1
    found = lines(answer.err)
    assert any(each["message"].startswith("Shard 00000: 2 of 2 videos") for each in found)
    assert any(each["level"] == "WARNING" and "unreadable" in each["message"] for each in found)


def test_errors_of_a_command_are_objects_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path / "absent"), "--log-format", "json"]) == 2
    (line,) = lines(capsys.readouterr().err)
    assert line["level"] == "ERROR"
    assert "absent" in line["message"]


def test_the_configuration_chooses_and_the_flag_takes_precedence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text("monitoring: {log_format: json}\n", encoding="utf-8")
    wrong = ["extract", "absent", "--store", "store"]
    assert main(wrong) == 2
    assert "absent" in lines(capsys.readouterr().err)[0]["message"]
    assert main([*wrong, "--log-format", "text"]) == 2
    assert capsys.readouterr().err.startswith("reeldex: ")
    Path("pipeline.yaml").write_text("monitoring: {log_format: xml}\n", encoding="utf-8")
    assert main(wrong) == 2
    assert "monitoring.log_format" in capsys.readouterr().err
    assert main([*wrong, "--log-format", "xml"]) == 2
    assert "xml" in capsys.readouterr().err


def test_an_error_keeps_its_trace_in_one_line() -> None:
    error = ValueError("line 1\nline 2")
    about = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("reeldex.a", logging.ERROR, __file__, 1, "bad %s", ("x",), about)
    text = JsonLines().format(record)
    assert "\n" not in text
    found = json.loads(text)
    assert found["message"] == "bad x"
    assert "ValueError: line 1\nline 2" in found["error"]


def test_no_bar_is_drawn_among_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    logger = logging.getLogger(OUR_LOGGER)
    terminal.set_up_logging(verbose=False, log_format="json")
    assert logs_as_json()
    assert logger.level == logging.INFO
    with progress_bar():
        assert current_sinks() == ()
    terminal.set_up_logging(verbose=False)
    assert not logs_as_json()


@pytest.mark.slow
def test_workers_and_runs_of_prefect_log_the_same_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*settings._JSON_LOG, FOLDER_VARIABLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    settings.hand_on_monitoring(MonitoringConfig(log_format="json", metrics_folder=tmp_path))
    assert os.environ[FOLDER_VARIABLE] == str(tmp_path)
    script = (
        "import logging\n"
        "from prefect.logging import get_logger\n"
        "from prefect.logging.configuration import setup_logging\n"
        "setup_logging()  # as the process of a flow run does\n"
        "get_logger('runs').warning('of %s [bold]' + ' long' * 100, 'Prefect')\n"
        "logging.getLogger('reeldex.a').warning('of ours')\n"
    )
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_LOGGING_LEVEL": "INFO"}
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    first, second = lines(answer.stderr)
    assert first["message"].startswith("of Prefect [bold] long")
    assert second["message"] == "of ours"
