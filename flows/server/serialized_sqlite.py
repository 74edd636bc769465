"""Prefect's SQLite database with one writing transaction at a time, in order of request.

SQLite allows one writer. Prefect begins a transaction as a reader and upgrades it to a writer later, which SQLite
refuses if another transaction has written meanwhile (SQLITE_BUSY_SNAPSHOT, answered with 503). Waiting writers poll the
database in no particular order, each with a connection of the pool: twenty concurrent requests exhausted it. Here a
transaction waits for its turn before it takes a connection, and begins as a writer (BEGIN IMMEDIATE).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import set_database_config
from prefect.server.utilities.database import get_dialect
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


@dataclass
class _Turn:
    """A transaction, active until `over`; a task that it starts inherits it and may outlive it."""

    over: bool = False


_turn: ContextVar[_Turn | None] = ContextVar("_turn", default=None)


class SerializedSqlite(AioSqliteConfiguration):
    """Prefect's SQLite configuration with transactions in FIFO order within this process.

    Statements outside of a transaction, such as the server's reads, do not wait.
    """

    def __init__(self, connection_url: str, **options: Any) -> None:  # noqa: ANN401 - as the base class takes them
        super().__init__(connection_url, **options)
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def begin_transaction(
        self,
        session: AsyncSession,
        with_for_update: bool = False,  # noqa: FBT001, FBT002 - the base class's signature
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """Begin a writing transaction once all earlier ones have ended; it is committed at the end of the block."""
        outer = _turn.get()
        if outer is not None and not outer.over:
            # A nested transaction would wait for itself.
            async with super().begin_transaction(session, with_for_update) as transaction:
                yield transaction
            return
        async with self._one_at_a_time:
            turn = _Turn()
            token = _turn.set(turn)
            try:
                async with super().begin_transaction(session, with_for_update=True) as transaction:
                    yield transaction
            finally:
                turn.over = True
                _turn.reset(token)


def serialize_transactions() -> None:
    """Make Prefect's server in this process use SerializedSqlite, if its settings name a SQLite database."""
    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if get_dialect(url).name == "sqlite":
        set_database_config(SerializedSqlite(connection_url=url))
