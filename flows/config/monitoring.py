"""The section `monitoring` of `pipeline.yaml`: how commands log, and where runs record their metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from reeldex.options import Options


class MonitoringConfig(Options):
    """How commands log, and where runs record their metrics."""

    log_format: Annotated[
        Literal["text", "json"],
        Field(
            title="Log format",
            description="Format of the log on standard error. json: one object per line, and no progress bar.",
        ),
    ] = "text"
    metrics_folder: Annotated[
        Path | None,
        Field(
            title="Folder of metrics",
            description="Folder on this machine in which runs record their metrics, for `reeldex metrics`. null: the "
            "one that REELDEX_METRICS_FOLDER names, or none.",
        ),
    ] = None
