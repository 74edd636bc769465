"""What the server's own automations wait for. How they act is tested on a real server, in tests/system."""

from __future__ import annotations

from datetime import timedelta

from prefect.events.schemas.automations import EventTrigger

from reeldex.flows.runs.signs_of_life import ALIVE_SECONDS
from reeldex.flows.server.automations import automations


def test_a_silent_host_is_announced_after_two_minutes_and_its_runs_crashed_after_two_more() -> None:
    triggers = [automation.trigger for automation in automations()]
    assert [isinstance(trigger, EventTrigger) and trigger.within for trigger in triggers] == [timedelta(minutes=2)] * 2
    assert timedelta(minutes=2) == timedelta(seconds=4 * ALIVE_SECONDS)
