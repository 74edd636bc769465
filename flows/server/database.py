"""The database of the Prefect server that `reeldex up` starts."""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

from reeldex.errors import UsageError

# Prefect knows the setting by both names.
_VARIABLE, _FORMER_VARIABLE = "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL"
_POSTGRESQL = "postgresql+asyncpg"
_DRIVERS = {"postgresql": _POSTGRESQL, "postgres": _POSTGRESQL, _POSTGRESQL: _POSTGRESQL, "sqlite+aiosqlite": ""}
_CONNECT_SECONDS = 10.0


def choose_database(url: str | None) -> str:
    """Make the server use the database at `url`, or else the one of Prefect's settings; return a name for people.

    Raises UsageError for a URL of another kind, and for a PostgreSQL database that cannot be used.
    """
    if url is not None:
        os.environ[_VARIABLE] = _with_driver(url)
        os.environ.pop(_FORMER_VARIABLE, None)
    chosen = os.environ.get(_VARIABLE) or os.environ.get(_FORMER_VARIABLE)
    if not chosen:
        return "SQLite, in the same folder"
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(chosen)
    except (ArgumentError, ValueError) as error:
        raise UsageError(f"The URL of the database cannot be read: {error}. {_EXAMPLE}") from error
    name: str = parsed.render_as_string(hide_password=True)
    if parsed.drivername == _POSTGRESQL:
        _require_connection(parsed, name)
    return name


_EXAMPLE = "Example: postgresql://user:password@host:5432/prefect"


def _with_driver(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _DRIVERS:
        raise UsageError(
            f"--database must begin with postgresql:// or sqlite+aiosqlite://, not {scheme[:20]!r}. {_EXAMPLE}"
        )
    # PostgreSQL's own programs call the option sslmode.
    rest = re.sub(r"([?&])sslmode=", r"\1ssl=", rest)
    return f"{_DRIVERS[scheme] or scheme}://{rest}"


def _require_connection(url: Any, name: str) -> None:  # noqa: ANN401 - SQLAlchemy's URL, imported on demand
    import asyncpg  # type: ignore[import-untyped]

    # As the server will connect, also through a socket (?host=/var/run/postgresql).
    _, options = url.get_dialect()().create_connect_args(url)

    async def connect() -> None:
        connection = await asyncpg.connect(**options, timeout=_CONNECT_SECONDS)
        await connection.close()

    try:
        asyncio.run(connect())
    except (OSError, TimeoutError, TypeError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UsageError(
            f"The database {name} cannot be used: {error or type(error).__name__}. Check that PostgreSQL runs there, "
            "that the database exists, and that user and password are right."
        ) from error
