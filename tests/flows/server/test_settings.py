"""Settings that a user has made anywhere in Prefect's files reach the server and the worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import parse_config

_PROGRAM = """
import json, os
from pathlib import Path
from reeldex.flows.server.settings import prepare_settings, apply_settings
folder = prepare_settings(None)
apply_settings()
from prefect.settings import get_current_settings
told = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
print(json.dumps({"folder": str(folder), "told": told, "url": get_current_settings().api.url}))
"""


def _settings(tmp_path: Path, **environment: str) -> dict[str, Any]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=tmp_path,
        env={**own, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_a_profile_is_used_although_prefects_folder_is_another(tmp_path: Path) -> None:
    profiles = tmp_path / ".prefect" / "profiles.toml"
    profiles.parent.mkdir()
    profiles.write_text(
        'active = "lab"\n[profiles.lab]\nPREFECT_API_URL = "http://lab/api"\nPREFECT_API_AUTH_STRING = "me:lab"\n'
        '[profiles.other]\nPREFECT_API_URL = "http://other/api"\n',
        encoding="utf-8",
    )
    found = _settings(tmp_path)
    assert found["folder"] == str(tmp_path / "state" / "reeldex" / "prefect")
    assert found["told"]["PREFECT_HOME"] == found["folder"]
    assert found["told"]["PREFECT_API_AUTH_STRING"] == "me:lab"
    assert found["url"] == "http://lab/api"

    chosen = _settings(tmp_path, PREFECT_PROFILE="other")
    assert chosen["url"] == "http://other/api"
    assert not {"PREFECT_PROFILE", "PREFECT_API_AUTH_STRING"} & set(chosen["told"])

    stated = _settings(tmp_path, PREFECT_API_AUTH_STRING="me:here", PREFECT_WORKER_QUERY_SECONDS="7")
    assert stated["told"]["PREFECT_API_AUTH_STRING"] == "me:here"
    assert stated["told"]["PREFECT_WORKER_QUERY_SECONDS"] in {"7", "7.0"}


@pytest.mark.slow
def test_a_user_without_prefects_folder_gets_none(tmp_path: Path) -> None:
    assert _settings(tmp_path)["folder"] == str(tmp_path / "state" / "reeldex" / "prefect")
    assert not (tmp_path / ".prefect").exists()


@pytest.mark.slow
def test_a_prefect_toml_of_the_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "prefect.toml").write_text('[server.api]\nauth_string = "me:toml"\n', encoding="utf-8")
    assert _settings(tmp_path)["told"]["PREFECT_SERVER_API_AUTH_STRING"] == "me:toml"


@pytest.mark.parametrize("days", [0, -1, "soon"])
def test_a_retention_that_cannot_be_is_refused(days: object) -> None:
    with pytest.raises(UsageError, match=r"server\.retention_days"):
        parse_config({"server": {"retention_days": days}}, "test")


def test_runs_may_be_kept_for_ever() -> None:
    assert parse_config({"server": {"retention_days": None}}, "test").server.retention_days is None
    assert parse_config({}, "test").server.retention_days == 90.0
