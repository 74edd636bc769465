"""Prefect's settings for our server, worker and runs, and those that the user has made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from reeldex.flows.config.monitoring import MonitoringConfig
from reeldex.flows.monitoring.run_file import FOLDER_VARIABLE
from reeldex.flows.server.process import prefect_folder
from reeldex.user_folders import make_writable, state_folder

_HOW = "--home or XDG_STATE_HOME"
# No external requests, and short polling intervals. A user's own setting of the same name takes precedence.
_SETTINGS: Mapping[str, str] = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "true",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # Runs of many shards write many states; by default the server stores them one at a time.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "50",
}

# Prefect's console then shows what `--log-format json` shows of commands.
_JSON_LOG: Mapping[str, str] = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "reeldex.flows.execution.logs.JsonLines",
    "PREFECT_LOGGING_FORMATTERS_JSON_FORMAT": "%(message)s",
}


def default_home() -> Path:
    """Return the folder for Prefect's state unless the user names one: `~/.local/state/reeldex/prefect`."""
    return state_folder() / "prefect"


def prepare_settings(home: Path | None) -> Path:
    """Set the environment of this process and its children; return the folder of Prefect's state.

    Settings that the user has made anywhere, as in a Prefect profile or a prefect.toml, become environment variables:
    the profile is not read again once Prefect's folder is another. `home` overrides PREFECT_HOME.
    """
    if not prefect_folder(os.environ).exists():
        # Prefect creates its folder when it is imported; a user without one gets none in the home folder.
        os.environ["PREFECT_HOME"] = str(_folder(home))
        make_writable(_folder(home), _HOW)
    from prefect.settings import get_current_settings

    for name, value in get_current_settings().to_environment_variables(exclude_unset=True).items():
        os.environ.setdefault(name, value)
    folder = _folder(home)
    make_writable(folder, _HOW)
    os.environ["PREFECT_HOME"] = str(folder)
    # A profile of another folder; its settings are in the environment now.
    os.environ.pop("PREFECT_PROFILE", None)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    return folder


def hand_on_monitoring(monitoring: MonitoringConfig) -> None:
    """Set the environment of this process's children: the format of their log, and their folder of metrics."""
    if monitoring.log_format == "json":
        for name, value in _JSON_LOG.items():
            os.environ.setdefault(name, value)
    if monitoring.metrics_folder is not None:
        os.environ[FOLDER_VARIABLE] = str(monitoring.metrics_folder.absolute())


def _folder(home: Path | None) -> Path:
    return (home or Path(os.environ.get("PREFECT_HOME") or default_home())).absolute()


def apply_settings() -> None:
    """Make Prefect in this process use the environment as it is now."""
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
