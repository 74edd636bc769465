"""Options of the Prefect server's upkeep."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reeldex.options import Options


class ServerConfig(Options):
    """The Prefect server, as `reeldex up` and `reeldex worker` look after it."""

    retention_days: Annotated[
        float | None,
        Field(
            gt=0,
            title="Retention of runs (days)",
            description="Flow runs are deleted, with their logs and artifacts, this many days after their end; null "
            "keeps them. Features and other results are not deleted.",
        ),
    ] = 90.0
