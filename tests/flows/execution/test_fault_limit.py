"""A fault that no retry heals ends a run at once, and so does the same fault in three jobs in a row."""

from __future__ import annotations

import errno
import pickle
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reeldex.errors import InfrastructureError, PermanentFaultError, UsageError
from reeldex.flows.config.execution import ExecutionConfig
from reeldex.flows.execution.engines import workers_of
from reeldex.flows.execution.errors import InternalError, RunStoppedError, as_our_error
from reeldex.flows.execution.fault_limit import FaultLimit, fault_kind, run_until_fault
from reeldex.flows.execution.retries import RetryRule, may_be_repeated
from reeldex.flows.execution.thread_executor import ThreadExecutor
from reeldex.flows.execution.workers import POOL
from reeldex.remote_faults import FaultKind, RemoteError, RemoteFault
from reeldex.storage.errors import StoreVanishedError
from reeldex.storage.write_errors import UnwritableError, lasting_fault
from tests.waiting import wait_until


@dataclass(frozen=True)
class Job:
    """A job that notes its attempt in a folder, and fails as `error` says."""

    number: int
    folder: Path
    error: Exception | None = None
    waits: bool = False

    def __call__(self, device: str, on_event: object) -> int:
        del device, on_event
        with (self.folder / str(self.number)).open("a") as file:
            file.write("attempt\n")
        if self.waits:
            wait_until(lambda: False, 120)
        if self.error is not None:
            raise self.error
        return self.number


def run(jobs: list[Job], retries: int = 2, devices: str = "cpu") -> dict[int, Any]:
    results: dict[int, Any] = ThreadExecutor(workers_of(ExecutionConfig(), "test")).run(
        jobs, devices, RetryRule(retries, 0.01), lambda _: None
    )
    return results


def attempts(folder: Path) -> dict[int, int]:
    return {int(path.name): len(path.read_text().splitlines()) for path in sorted(folder.iterdir())}


FULL = OSError(errno.ENOSPC, "No space left on device", "/store/x")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FULL, UnwritableError),
        (OSError(errno.EROFS, "Read-only file system", "/store/x"), UnwritableError),
        (PermissionError(errno.EACCES, "Permission denied", "/store/x"), PermanentFaultError),
        (StoreVanishedError(Path("/store")), StoreVanishedError),
        (UsageError("other weights"), UsageError),
    ],
)
def test_what_no_retry_heals_is_tried_once_and_no_further_job_starts(
    tmp_path: Path, error: Exception, kind: type[Exception]
) -> None:
    results = run([Job(0, tmp_path), Job(1, tmp_path, error), Job(2, tmp_path), Job(3, tmp_path)])
    assert results[0] == 0
    assert type(results[1]) is kind
    assert set(results) == {0, 1}
    assert attempts(tmp_path) == {0: 1, 1: 1}


def test_the_same_fault_in_three_jobs_in_a_row_ends_the_run(tmp_path: Path) -> None:
    jobs = [Job(at, tmp_path, ValueError(f"/videos/{at}.mp4 has {at} rows")) for at in range(6)]
    results = run(jobs)
    assert {number: type(error) for number, error in results.items()} == dict.fromkeys(range(3), InternalError)
    assert attempts(tmp_path) == {0: 1, 1: 1, 2: 1}


@pytest.mark.slow
def test_a_fault_that_may_pass_is_retried_before_it_counts(tmp_path: Path) -> None:
    results = run([Job(at, tmp_path, MemoryError("full")) for at in range(5)], retries=1)
    assert set(results) == {0, 1, 2}
    assert attempts(tmp_path) == {0: 2, 1: 2, 2: 2}


def test_other_faults_and_successes_between_them_do_not_end_it(tmp_path: Path) -> None:
    bug = ValueError("a bug")
    jobs = [
        *(Job(at, tmp_path, bug) for at in (0, 1)),
        Job(2, tmp_path),
        *(Job(at, tmp_path, bug) for at in (3, 4)),
        Job(5, tmp_path, KeyError("another")),
        *(Job(at, tmp_path, bug) for at in (6, 7)),
        Job(8, tmp_path),
    ]
    assert set(run(jobs)) == set(range(9))


@pytest.mark.slow
def test_jobs_on_other_devices_are_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POOL._devices, "two", ("cpu:0", "cpu:1"))  # this machine has but one
    results = run([Job(0, tmp_path, waits=True), Job(1, tmp_path, FULL), Job(2, tmp_path)], devices="two")
    assert isinstance(results[1], UnwritableError)
    assert isinstance(results[0], RunStoppedError)
    assert 2 not in results
    assert run([Job(3, tmp_path)]) == {3: 3}, "the next run works"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (InfrastructureError("Process 71 of cpu died"), InfrastructureError("Process 8 of cpu died"), True),
        (InfrastructureError("a"), InternalError("a"), False),
        (InternalError("KeyError: 'v1'"), InternalError('KeyError: "other video"'), True),
        (InternalError("/a/b.h5: bad"), InternalError("/c/d e.h5: bad"), False),
        (InternalError("ValueError"), InternalError("KeyError"), False),
    ],
)  # fmt: skip
def test_what_counts_as_the_same_fault(one: Exception, other: Exception, same: bool) -> None:  # noqa: FBT001
    assert (fault_kind(one) == fault_kind(other)) is same


def test_a_stopped_job_is_no_fault() -> None:
    limit = FaultLimit()
    for _ in range(5):
        limit.record(RunStoppedError("stopped"))
    assert limit.fault is None


def test_lasting_faults_cross_processes_and_are_not_repeated() -> None:
    for fault in (UnwritableError(Path("/s"), errno.ENOSPC, 4e7), StoreVanishedError(Path("/s"))):
        back = pickle.loads(pickle.dumps(fault))  # noqa: S301 - our own
        assert (type(back), str(back)) == (type(fault), str(fault))
        assert as_our_error(back) is back
        assert not may_be_repeated(back)
    assert may_be_repeated(as_our_error(OSError(errno.EIO, "Input/output error")))
    nameless = as_our_error(OSError(errno.ENOSPC, "No space left on device"))
    assert "Free space on the disks of the store, of caches and of temporary files" in str(nameless)


@pytest.mark.parametrize(
    ("kind", "lasts"),
    [
        ("forbidden", True),
        ("no_credentials", True),
        ("no_place", True),
        ("misdirected", True),
        ("throttled", False),
        ("unreachable", False),
        ("removed", False),
        ("other", False),
    ],
)
def test_a_fault_of_an_object_store_is_stated_as_it_was_met(kind: FaultKind, lasts: bool) -> None:  # noqa: FBT001
    met = RemoteError("s3://lab/store/.claims/a.0.json", RemoteFault(kind, "this went wrong", "Do that."))
    stated = as_our_error(met)
    assert type(stated) is (PermanentFaultError if lasts else InfrastructureError)
    assert str(stated) == "s3://lab/store/.claims/a.0.json: this went wrong. Do that.", "and not as a write"
    assert may_be_repeated(stated) is not lasts
    # What was a write has been named as one where it was made, if it lasts.
    written = lasting_fault(Path("/store/x"), met)
    assert (written is not None) is lasts
    assert written is None or as_our_error(written) is written


def test_a_job_that_cannot_be_submitted_ends_the_run_with_the_results_of_the_others(tmp_path: Path) -> None:
    submitted: list[int] = []
    running: Future[int] = Future()

    def submit(job: Job) -> Future[int]:
        submitted.append(job.number)
        if job.number == 2:
            raise PermanentFaultError("The head node is gone.")
        if job.number == 0:
            return running
        future: Future[int] = Future()
        future.set_result(job.number)
        return future

    limit = FaultLimit()
    results = run_until_fault(
        [Job(number, tmp_path) for number in range(5)],
        2,
        submit,
        lambda future: future.exception() or future.result(),
        lambda: running.set_exception(RunStoppedError("stopped")),
        limit,
    )
    assert {number: str(result) for number, result in results.items()} == {
        0: "stopped",
        1: "1",
        2: "The head node is gone.",
    }
    assert submitted == [0, 1, 2]
    assert limit.fault is results[2]
