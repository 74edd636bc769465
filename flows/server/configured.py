"""The Prefect server that the user's settings name: which one, and whether it can be used from here."""

from __future__ import annotations

import os
from pathlib import Path

from reeldex.errors import UsageError
from reeldex.flows.server.access import require_access
from reeldex.flows.server.known_servers import find_secret
from reeldex.flows.server.process import configured_api_url

_HOW = "set PREFECT_API_URL, such as http://127.0.0.1:4200/api, or start one with `reeldex up` and set what it prints"
# Files of the present folder in which Prefect looks for its settings, too, and what such settings contain there.
_FILES = {".env": "PREFECT_", "prefect.toml": "", "pyproject.toml": "[tool.prefect"}


def find_server() -> str | None:
    """Return the API address of the configured server, or None. Prefect is imported only if one of its files is here.

    Looked at are PREFECT_API_URL, Prefect's active profile, and the files of the present folder that Prefect reads.
    """
    found = configured_api_url(os.environ)
    if found is not None or not any(_contains(Path(name), setting) for name, setting in _FILES.items()):
        return found
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def _contains(path: Path, setting: str) -> bool:
    try:
        return setting.lower() in path.read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        return False


def use_server(api_url: str | None) -> None:
    """Make this process ready to use the server at `api_url`, with its secret if it is one of `reeldex up`.

    Raises UsageError for None, for a server that does not answer, and for one that refuses this user.
    """
    if api_url is None:
        raise UsageError(f"--server: no Prefect server is configured. To configure one, {_HOW}; or leave out --server.")
    find_secret(api_url)
    import httpx
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(api_url) as client:
        error = client.api_healthcheck()
    if isinstance(error, httpx.TransportError):
        raise UsageError(
            f"The configured Prefect server at {api_url} does not answer: {error}. Start it, correct PREFECT_API_URL "
            "or Prefect's profile, or run the command without it: --no-server."
        )
    require_access(api_url)
