"""The installed Prefect plans the runs of schedules: releases of what it depends on have kept it from that."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule


@pytest.mark.parametrize(
    ("timezone", "start", "planned"),
    [
        ("UTC", datetime(2026, 3, 28, 12, tzinfo=UTC), ["2026-03-29T02:30", "2026-03-30T02:30"]),
        # Their clocks skip that hour on the one day, and repeat it on the other.
        ("Europe/Paris", datetime(2026, 3, 28, 12, tzinfo=UTC), ["2026-03-29T01:30", "2026-03-30T00:30"]),
        ("Europe/Paris", datetime(2026, 10, 24, 12, tzinfo=UTC), ["2026-10-25T00:30", "2026-10-26T01:30"]),
    ],
)
def test_a_cron_schedule_has_dates(timezone: str, start: datetime, planned: list[str]) -> None:
    schedule = CronSchedule(cron="30 2 * * *", timezone=timezone)
    found = asyncio.run(schedule.get_dates(2, start=start))
    assert [each.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") for each in found] == planned


def test_an_interval_has_dates() -> None:
    schedule = IntervalSchedule.model_validate({"interval": 15 * 60, "anchor_date": "2026-01-01T00:00:00Z"})
    found = asyncio.run(schedule.get_dates(2, start=datetime(2026, 3, 28, 12, 1, tzinfo=UTC)))
    assert [each.astimezone(UTC) for each in found] == [
        datetime(2026, 3, 28, 12, minute, tzinfo=UTC) for minute in (15, 30)
    ]
