"""Executors: one retry rule for all, results and errors by job, nothing of the jobs known."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.flows.execution.errors import InternalError
from reeldex.flows.execution.in_process import InProcess
from reeldex.flows.execution.jobs import Job, JobStarted, JobStopped
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.execution.worker_processes import WorkerProcesses

if TYPE_CHECKING:
    from reeldex.flows.execution.jobs import Executor, OnEvent

ONCE = RetryRule(retries=0, first_delay_seconds=0.0)


@dataclass(frozen=True)
class Attempts:
    """A job that the machine fails until its file holds `succeeds_at` lines, one per attempt."""

    number: int
    file: Path
    succeeds_at: int
    error: type[Exception] = MemoryError

    def __call__(self, device: str, on_event: OnEvent) -> tuple[str, int]:
        with self.file.open("a") as file:
            file.write("attempt\n")
        attempts = len(self.file.read_text().splitlines())
        on_event(attempts)
        if attempts < self.succeeds_at:
            raise self.error("not yet")
        return device, os.getpid()


@pytest.fixture(params=["in process", "worker processes"])
def executor(request: pytest.FixtureRequest) -> Executor[Job]:
    return InProcess() if request.param == "in process" else WorkerProcesses("test")


def test_what_the_machine_fails_is_repeated_and_stops_no_other(executor: Executor[Job], tmp_path: Path) -> None:
    jobs = [Attempts(0, tmp_path / "0", 3), Attempts(1, tmp_path / "1", 9), Attempts(2, tmp_path / "2", 1)]
    events: list[object] = []
    results: dict[int, Any] = executor.run(jobs, "cpu", RetryRule(retries=2, first_delay_seconds=0.01), events.append)
    assert results[0][0] == "cpu"
    assert isinstance(results[1], InfrastructureError)
    assert results[2][0] == "cpu"
    assert [len((tmp_path / name).read_text().splitlines()) for name in "012"] == [3, 3, 1]
    assert [each for each in events if not isinstance(each, JobStarted | JobStopped)] == [1, 2, 3, 1, 2, 3, 1]
    assert events.count(JobStarted(0)) == events.count(JobStopped(0)) == 3


@pytest.mark.parametrize(("error", "kind"), [(UsageError, UsageError), (ZeroDivisionError, InternalError)])
def test_what_would_fail_again_is_not_repeated(
    executor: Executor[Job], tmp_path: Path, error: type[Exception], kind: type[Exception]
) -> None:
    jobs = [Attempts(0, tmp_path / "0", 2, error)]
    results: dict[int, Any] = executor.run(jobs, "cpu", RetryRule(retries=5, first_delay_seconds=60.0), lambda _: None)
    assert type(results[0]) is kind
    assert len((tmp_path / "0").read_text().splitlines()) == 1


def test_only_worker_processes_run_elsewhere(tmp_path: Path) -> None:
    job = Attempts(0, tmp_path / "0", 1)
    here: Any = InProcess().run([job], "cpu", ONCE, lambda _: None)[0]
    elsewhere: Any = WorkerProcesses("test").run([job], "cpu", ONCE, lambda _: None)[0]
    assert here[1] == os.getpid() != elsewhere[1]


def test_each_delay_is_twice_the_one_before() -> None:
    rule, waited = RetryRule(retries=4, first_delay_seconds=5.0), list[float]()
    for attempt in range(1, 5):
        rule.wait_before(attempt, waited.append)
    assert waited == [5.0, 10.0, 20.0]
