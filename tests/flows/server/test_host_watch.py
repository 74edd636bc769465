"""What a host does beside its worker goes on whatever one part of it meets; on a real server: tests/system."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
import pytest

from reeldex.flows.server import host_watch
from reeldex.flows.server.host_watch import HostWatch
from tests.waiting import wait_until

WORK = (
    "crash_lost_runs",
    "crash_unfinished_tasks",
    "skip_surplus_runs",
    "end_progress_of_lost_runs",
    "delete_old_runs",
)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which parts were done, in order. No server answers each of these wrongly."""
    names: list[str] = []

    def noted(name: str) -> Callable[..., int]:
        def work(*_: object) -> int:
            names.append(name)
            return 0

        return work

    for name in WORK:
        monkeypatch.setattr(host_watch, name, noted(name))
    monkeypatch.setattr(host_watch, "_LOOK_SECONDS", 0.01)
    return names


def failing(name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object) -> int:
        raise error

    monkeypatch.setattr(host_watch, name, work)


def test_a_part_that_meets_what_nobody_expected_does_not_end_the_watch(
    done: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing("crash_unfinished_tasks", ValueError("a run of another release"), monkeypatch)
    with HostWatch(30).running():
        wait_until(lambda: done.count("crash_lost_runs") >= 3, 10)
    assert done.count("skip_surplus_runs") >= 2
    # Once an hour.
    assert done.count("delete_old_runs") == 1
    assert [each.levelno for each in caplog.records] == [logging.ERROR], "said once"
    assert "a run of another release" in caplog.text


def test_an_outage_of_the_server_is_waited_for_and_said_once(
    done: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    works = vars(host_watch)["crash_lost_runs"]
    failing("crash_lost_runs", httpx.ConnectError("refused"), monkeypatch)
    watch = HostWatch(None)
    down = watch._look(frozenset())
    assert down == watch._look(down) != frozenset()
    assert done == []
    monkeypatch.setattr(host_watch, "crash_lost_runs", works)
    assert not watch._look(down)
    assert done == list(WORK[:4])
    assert [each.message for each in caplog.records] == [
        "The Prefect server cannot be asked about lost runs; trying again: refused"
    ]


def test_another_fault_is_said_beside_one_that_lasts(
    done: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing("crash_unfinished_tasks", ValueError("first"), monkeypatch)
    watch = HostWatch(None)
    first = watch._look(frozenset())
    failing("end_progress_of_lost_runs", KeyError("second"), monkeypatch)
    both = watch._look(first)
    failing("crash_lost_runs", httpx.ConnectError("refused"), monkeypatch)
    watch._look(both)
    texts = [each.getMessage() + str(each.exc_info and each.exc_info[1]) for each in caplog.records]
    assert [word for text in texts for word in ("first", "second", "refused") if word in text] == [
        "first", "second", "refused",
    ]  # fmt: skip
    assert done[-2:] == ["crash_lost_runs", "skip_surplus_runs"], "an outage ends a look"
