"""Executors: one retry rule for all, results and errors by job, nothing of the jobs known."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.flows.config.execution import ExecutionConfig
from reeldex.flows.execution import worker_processes
from reeldex.flows.execution.engines import workers_of
from reeldex.flows.execution.errors import InternalError
from reeldex.flows.execution.jobs import Job, JobStarted, JobStopped
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.execution.thread_executor import ThreadExecutor

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


@pytest.fixture
def executor() -> Executor[Job]:
    return ThreadExecutor(workers_of(ExecutionConfig(), "test"))


@pytest.mark.slow
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


def test_jobs_run_in_another_process(executor: Executor[Job], tmp_path: Path) -> None:
    done: Any = executor.run([Attempts(0, tmp_path / "0", 1)], "cpu", ONCE, lambda _: None)[0]
    assert done[1] != os.getpid()


def test_a_lock_that_cannot_be_taken_is_the_users_to_correct(
    executor: Executor[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    results = executor.run([Attempts(0, tmp_path / "0", 1)], "cpu", ONCE, lambda _: None)
    assert isinstance(results[0], UsageError)
    assert "Select another one with XDG_STATE_HOME" in str(results[0])


def test_a_lock_that_the_file_system_refuses_is_tried_again(
    executor: Executor[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def refuse(device: str, _: str) -> NoReturn:
        attempts.append(device)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(worker_processes, "one_shard_at_a_time", refuse)  # no file system here refuses locks
    results = executor.run([Attempts(0, tmp_path / "0", 1)], "cpu", RetryRule(2, 0.01), lambda _: None)
    assert isinstance(results[0], InfrastructureError)
    assert attempts == ["cpu"] * 3


def test_each_delay_is_twice_the_one_before() -> None:
    rule, waited = RetryRule(retries=4, first_delay_seconds=5.0), list[float]()
    for attempt in range(1, 5):
        rule.wait_before(attempt, waited.append)
    assert waited == [5.0, 10.0, 20.0]
