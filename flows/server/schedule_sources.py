"""Schedules over folders that do not exist, which are reported when they are registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reeldex.errors import UsageError
from reeldex.flows.extraction.sources import require_source

if TYPE_CHECKING:
    from reeldex.flows.config.pipeline import PipelineConfig


def absent_sources(config: PipelineConfig) -> list[str]:
    """Return a sentence for each schedule whose source does not exist on this machine, such as a missing mount."""
    absent = []
    for schedule in config.schedules:
        try:
            require_source(schedule.located_source)
        except UsageError as error:
            absent.append(f"The schedule {schedule.name!r}: {error} Its runs fail until then.")
    return absent
