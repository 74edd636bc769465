"""`reeldex up`: a Prefect server, the deployments and a worker on this machine, in one command."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.server.access import ServerAccess, prepare_access
from reeldex.flows.server.csp import block_external_requests
from reeldex.flows.server.database import choose_database
from reeldex.flows.server.deploy import register_all, use_configured_server
from reeldex.flows.server.known_servers import announce
from reeldex.flows.server.process import LOOPBACK
from reeldex.flows.server.programs import Programs, say, stop_signals
from reeldex.flows.server.settings import apply_settings, hand_on_monitoring, prepare_settings
from reeldex.flows.server.worker import working

_UI = "/v2"  # Prefect's new UI; without it, addresses open the old one
_PAGE = f"{_UI}/deployments"


@dataclass(frozen=True)
class UpOptions:
    """Options of `reeldex up`: `port` of the server, `home` for Prefect's state, `runs` at a time.

    `no_secret`: a server that is started here is open to every user of this machine. `database`: the URL of its
    database; without one, that of Prefect's settings, or else an SQLite file in `home`.
    """

    port: int = 4200
    home: Path | None = None
    runs: int = 4
    no_secret: bool = False
    database: str | None = None


def up(config: PipelineConfig, options: UpOptions) -> None:
    """Serve until SIGINT or SIGTERM, or until one of its processes ends. Raises UsageError when it cannot start."""
    home = prepare_settings(options.home)
    api_url = os.environ.get("PREFECT_API_URL") or None
    hand_on_monitoring(config.monitoring)
    with stop_signals() as stopping, Programs() as programs:
        access = None
        if api_url is None:
            access = _start_server(programs, options, home, stopping)
            api_url = access.api_url
        elif options.database is not None:
            raise UsageError(
                f"--database is for a server that is started here; PREFECT_API_URL or your Prefect profile names "
                f"{api_url}. Leave out --database, or unset the address."
            )
        apply_settings()
        if access is None:
            use_configured_server()
        if not stopping:
            # The pool's limit counts the runs of all machines; another server may serve several.
            register_all(config, None if access is None else options.runs, own_server=access is not None)
            with working(programs, options.runs, home / "worker.log", config.server.retention_days):
                say(_welcome(api_url, home, access))
                programs.watch(stopping)
        programs.end_worker()


def _start_server(programs: Programs, options: UpOptions, home: Path, stopping: list[int]) -> ServerAccess:
    api_url = f"http://{LOOPBACK}:{options.port}/api"
    _require_free(options.port)
    database = choose_database(options.database)
    access = prepare_access(api_url, no_secret=options.no_secret)
    say(f"Starting a Prefect server; its state is stored in {home}, its database is {database}")
    os.environ["PREFECT_API_URL"] = api_url
    # Of links in logs and notifications.
    os.environ.setdefault("PREFECT_UI_URL", f"http://{LOOPBACK}:{options.port}{_UI}")
    ui_folder = Path(os.environ.setdefault("PREFECT_UI_STATIC_DIRECTORY", str(home / "ui")))
    programs.start_server(options.port, home / "server.log", api_url, stopping, access.options)
    announce(api_url)
    block_external_requests(ui_folder)
    return access


def _welcome(api_url: str, home: Path, access: ServerAccess | None) -> str:
    page = f"{api_url.removesuffix('/api')}{_PAGE}" if access is None else access.browser_url(_PAGE)
    return f"""
reeldex is up.

  Open        {page}
  Extract     click `extract`, then Run > Custom run: name a folder of videos and a store, press Submit
  Help        the Description tab of each deployment says what it does and how
  Watch       click the run: its Logs and Artifacts tabs show progress, failures and pictures
  Retry       a failed run: its menu > Retry; an incomplete store: the deployment `rerun-failed`
  Logs        {home}/server.log, {home}/worker.log
  Stop        Ctrl-C here
{_NOT_OURS if access is None else access}
"""


_NOT_OURS = """\
  Access      is controlled by that server: anyone who can start runs there can execute any command here. See
              PREFECT_SERVER_API_AUTH_STRING in Prefect's documentation."""


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise UsageError(
                f"Port {port} on {LOOPBACK} is not free ({error.strerror}). Choose another with --port; or, if a "
                f"Prefect server runs there already, use it: PREFECT_API_URL=http://{LOOPBACK}:{port}/api reeldex up"
            ) from error
