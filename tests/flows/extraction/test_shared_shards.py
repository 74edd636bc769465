"""What a run does with shards that others claim, complete or abandon while it works."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reeldex.errors import InfrastructureError, PermanentFaultError
from reeldex.flows.execution.errors import RunStoppedError, as_our_error
from reeldex.flows.execution.fault_limit import FaultLimit
from reeldex.flows.execution.jobs import NOTHING_DONE, Job, OnEvent, did_nothing
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.execution.thread_executor import ThreadExecutor
from reeldex.flows.extraction.events import ShardPlanned, VideoFinished
from reeldex.flows.extraction.plan import unfinished
from reeldex.flows.extraction.prepare import prepare_rerun
from reeldex.flows.extraction.report import summary
from reeldex.flows.extraction.run import run_shards
from reeldex.flows.extraction.shard_job import ShardJob, was_completed
from reeldex.flows.extraction.shared_shards import SharedShards, run_until_done
from reeldex.remote_faults import RemoteError
from reeldex.storage.schema import VideoOutcome
from reeldex.storage.store import FeatureStore
from reeldex.storage.write_errors import UnwritableError
from tests.flows.extraction.racer import LEASE_SECONDS, SPACE, extract_without_networks, plan, settings
from tests.object_store import Fault, ObjectStore

SHARDS = 4


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    # Networks are not what this is about.
    monkeypatch.setattr(ShardJob, "_extract", extract_without_networks)
    monkeypatch.setattr("reeldex.flows.extraction.shared_shards._LOOK_SECONDS", 0.05)
    monkeypatch.setattr("tests.flows.extraction.racer.WORK_SECONDS", 0.0)
    return plan(tmp_path / "store", SHARDS, 2)


def jobs_of(store: FeatureStore) -> list[ShardJob]:
    return [
        ShardJob(str(store.path), task.shard, task.spaces, settings(), videos=task.videos, inspection=task.inspection)
        for task in unfinished(store)
    ]


class Runs:
    """Runs jobs one after the other, as an executor does, and remembers which."""

    def __init__(self, results: dict[int, Any] | None = None) -> None:
        self.ran: list[int] = []
        self._results = results or {}

    def __call__(self, jobs: Sequence[ShardJob]) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for job in jobs:
            self.ran.append(job.shard)
            found[job.shard] = self._results.get(job.shard) or job("cpu", print)
        return found


def shared(store: FeatureStore, jobs: Sequence[ShardJob], told: list[int] | None = None) -> SharedShards:
    tell = [] if told is None else told
    return SharedShards(store, jobs, lambda job: tell.append(job.shard), RetryRule(2, 0.05))


def test_a_run_alone_does_all_shards_in_order(store: FeatureStore) -> None:
    jobs, runs = jobs_of(store), Runs()
    results = run_until_done(shared(store, jobs), jobs, runs)
    assert runs.ran == [0, 1, 2, 3]
    assert not any(map(did_nothing, results.values()))
    assert unfinished(store) == []


def test_a_shard_that_another_run_completes_is_waited_for_and_not_done_again(store: FeatureStore) -> None:
    jobs, runs, told = jobs_of(store), Runs(), list[int]()
    claimed, done = threading.Event(), threading.Event()

    def other() -> None:
        with store.claim(1):
            claimed.set()
            done.wait(60)
            ShardJob._extract(jobs[1], store, "cpu", print)

    thread = threading.Thread(target=other)
    thread.start()
    claimed.wait(60)
    threading.Timer(0.5, done.set).start()
    shards = shared(store, jobs, told)
    results = run_until_done(shards, jobs, runs)
    thread.join()
    assert runs.ran == [0, 2, 3]
    assert sorted(results) == [0, 2, 3]
    assert shards.elsewhere == {1}
    assert told == [1]
    assert unfinished(store) == []


def test_a_shard_that_another_run_gives_up_is_done(store: FeatureStore) -> None:
    jobs, runs = jobs_of(store), Runs()
    with ExitStack() as claim:
        claim.enter_context(store.claim(0, lease_seconds=LEASE_SECONDS))
        threading.Timer(0.5, claim.close).start()
        results = run_until_done(shared(store, jobs), jobs, runs)
    assert runs.ran == [1, 2, 3, 0]
    assert sorted(results) == [0, 1, 2, 3]


def test_a_job_that_finds_its_shard_claimed_says_so_and_changes_nothing(store: FeatureStore) -> None:
    (job, *_) = jobs_of(store)
    with store.claim(0):
        result = job("cpu", print)
    assert did_nothing(result)
    assert "claimed by process" in result["claimed_by"]
    assert store.outcomes(0) is None


def test_what_was_completed_between_the_plan_and_the_run_is_not_submitted(store: FeatureStore) -> None:
    jobs, runs = jobs_of(store), Runs()
    assert not did_nothing(jobs[2]("cpu", print))
    run_until_done(shared(store, jobs), jobs, runs)
    assert runs.ran == [0, 1, 3]


def test_what_another_run_completes_while_a_job_waits_for_its_device_is_the_others(store: FeatureStore) -> None:
    jobs, told = jobs_of(store), list[int]()
    shards = shared(store, jobs, told)

    def run_late(open_jobs: Sequence[ShardJob]) -> dict[int, Any]:
        submitted = list(open_jobs)
        assert not was_completed(jobs[1]("cpu", print))  # another run's
        return {job.shard: job("cpu", print) for job in submitted}

    results = run_until_done(shards, jobs, run_late)
    assert sorted(results) == [0, 2, 3]
    assert (shards.elsewhere, told) == ({1}, [1])


def test_a_shard_that_is_extracted_again_or_lacks_a_file_is_never_taken_for_complete(store: FeatureStore) -> None:
    (job, *_) = jobs_of(store)
    job("cpu", print)
    assert was_completed(job("cpu", print))
    assert not was_completed(replace(job, redo=(0,))("cpu", print))
    next((store.path / "features").rglob("shard-00000.h5")).unlink()
    (planned, *_) = jobs_of(FeatureStore(store.path))
    assert not was_completed(planned("cpu", print))


class Others:
    """An executor whose jobs have all been done by others; with `own`, after it had extracted a video itself."""

    def __init__(self, *, own: bool) -> None:
        self._own = own

    def run(
        self, jobs: Sequence[ShardJob], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        del devices, retries
        for job in jobs:
            job("cpu", print)  # others, or an attempt whose worker was killed after it had published
            if self._own:
                on_event(ShardPlanned(job.shard, 1, 1))
                on_event(VideoFinished(job.shard, VideoOutcome("a", "/a.mp4", "ok", None, "", 1)))
        return {job.shard: job("cpu", on_event) for job in jobs}


@pytest.mark.parametrize("own", [True, False])
def test_a_report_says_what_the_run_did_and_what_others_did(store: FeatureStore, *, own: bool) -> None:
    prepared = prepare_rerun(str(store.path), settings(), ())
    report = run_shards(prepared, prepared.all_tasks, Others(own=own), {})
    assert (report.shards_done, report.shards_elsewhere) == ((4, 0) if own else (0, 4))
    assert report.shards_left == 0
    assert ("4 shards completed by other runs" in str(report)) is not own


class Retried:
    """An executor that has the result of an earlier attempt for some shards."""

    def __init__(self, kept: dict[int, Any]) -> None:
        self._kept = kept

    def run(
        self, jobs: Sequence[ShardJob], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        del devices, retries
        return {job.shard: self._kept.get(job.shard) or job("cpu", on_event) for job in jobs}


def test_what_others_complete_between_a_failure_and_its_retry_is_theirs(store: FeatureStore) -> None:
    first, *rest = jobs_of(store)
    kept = {0: first("cpu", print)}
    for job in rest:
        assert not did_nothing(job("cpu", print))  # another run's
    prepared = prepare_rerun(str(store.path), settings(), ())
    assert prepared.all_tasks == ()
    tasks = [prepared.task_of(manifest) for manifest in prepared.store.manifests()]
    report = run_shards(prepared, tasks, Retried(kept), {})
    assert (report.shards_done, report.shards_elsewhere, report.shards_left) == (1, 3, 0)
    assert "1 shard done" in str(report)
    assert "3 shards completed by other runs" in str(report)
    assert "Shards completed by other runs | 3" in summary(report)


@pytest.mark.parametrize("others", [True, False])
def test_failures_that_another_run_has_retried_are_its_own(store: FeatureStore, *, others: bool) -> None:
    for job in jobs_of(store):
        staging = store.staging(job.shard)
        for at, entry in enumerate(store.manifest(job.shard).videos):
            staging.put(at, VideoOutcome(entry.video_id, entry.path, "failed", "timeout", "slow", 1), {})
        store.publish_shard(job.shard, [SPACE], provenance={}, seconds_of_work=1)
    jobs = [
        ShardJob(str(store.path), task.shard, task.spaces, settings(), task.retry, task.videos, task.inspection)
        for task in unfinished(store, ["timeout"])
    ]
    assert len(jobs) == SHARDS
    if others:
        jobs[0]("cpu", print)
    assert was_completed(jobs[0]("cpu", print)) is others


@pytest.mark.parametrize("fault", [PermanentFaultError("the disk is full"), None])
def test_a_fault_that_ends_a_run_does_not_make_it_wait_for_others(store: FeatureStore, fault: Exception | None) -> None:
    jobs = jobs_of(store)
    results: dict[int, Any] = {0: fault} if fault else dict.fromkeys((0, 1, 2), InfrastructureError("no device"))
    with store.claim(3):
        found = run_until_done(shared(store, jobs), jobs, Runs(results))
    assert 3 not in found
    assert isinstance(found[0], InfrastructureError)


def test_faults_in_a_row_count_across_rounds_and_shards_of_others_do_not_interrupt_them(tmp_path: Path) -> None:
    store = plan(tmp_path / "five", 5, 1)
    jobs, fault = jobs_of(store), InfrastructureError("no device")
    executor = ThreadExecutor(lambda _: nullcontext(_OneWorker(fault)))
    shards, rounds = shared(store, jobs), list[list[int]]()

    def run_jobs(open_jobs: Sequence[ShardJob]) -> dict[int, Any]:
        found = executor.run(open_jobs, "cpu", RetryRule(0, 0.0), lambda _: None)
        rounds.append(list(found))
        claim.close()
        return found

    with ExitStack() as claim:
        for shard in (1, 2, 3):
            claim.enter_context(store.claim(shard))
        results = run_until_done(shards, jobs, run_jobs)
    # Shards 0 and 4 of the first round, and one more: the run ends, and a shard that was given up is not tried again.
    assert rounds == [[0, 4], [1]]
    assert results == {0: fault, 4: fault, 1: fault}
    assert shards.limit.fault is fault


class _OneWorker:
    """A worker on which every job that is not claimed elsewhere fails."""

    count = 1

    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def run(self, job: Job, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the protocol has it
        found = job("cpu", on_event)
        if did_nothing(found):
            return found
        raise self._fault

    def stop(self) -> None:
        pass

    def pause(self, seconds: float) -> None:
        del seconds


@pytest.mark.parametrize("between", [{NOTHING_DONE: True, "claimed_by": "x"}, RunStoppedError("stopped")])
def test_what_others_do_says_nothing_about_this_machine(between: object) -> None:
    limit, fault = FaultLimit(), InfrastructureError("no device")
    for result in (fault, between, fault, between, fault):
        assert limit.fault is None
        limit.record(result)
    assert limit.fault is fault


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault(403, "AccessDenied"), PermanentFaultError, "access is denied"),
        (Fault(404, "NoSuchBucket"), PermanentFaultError, "the bucket or container 'lab' does not exist"),
        (Fault(400, "InvalidRequest"), InfrastructureError, "as the test says"),
    ],
)
def test_claims_that_cannot_be_read_are_not_said_to_be_unwritable(
    s3: ObjectStore, store: FeatureStore, fault: Fault, kind: type[Exception], words: str
) -> None:
    there = plan("s3://lab/store", 1, 1)
    jobs = jobs_of(there)
    shards = shared(there, jobs)
    s3.fail(Fault(fault.status, fault.code, meant=lambda request: request.method == "GET"))
    with pytest.raises(InfrastructureError, match=rf"^s3://lab/store/\S*: .*{words}") as read:
        shards.holder(jobs[0])
    with pytest.raises(RemoteError, match=words) as claimed, there.claim(0):
        pass
    for met in (read.value, as_our_error(claimed.value)):
        assert type(met) is kind
        assert "cannot be written" not in str(met)
    s3.heal()
    s3.fail(Fault(403, "AccessDenied", meant=lambda request: request.method in ("PUT", "POST")))
    with pytest.raises(UnwritableError, match=r"^s3://lab/store cannot be written: access is denied"):
        jobs[0]("cpu", print)


# More requests than one question makes, and fewer than a run waits through.
@pytest.mark.slow
@pytest.mark.parametrize("failing", [20, 1_000_000])
def test_an_outage_of_the_object_store_does_not_end_a_run_that_waits(
    s3: ObjectStore, store: FeatureStore, failing: int
) -> None:
    there = plan("s3://lab/store", 2, 1)
    jobs, outage = jobs_of(there), list[int]()

    def run_and_lose_the_store(open_jobs: Sequence[ShardJob]) -> dict[int, Any]:
        found = {job.shard: job("cpu", print) for job in open_jobs}
        if not outage:
            outage.append(failing)
            s3.fail(Fault(503, "SlowDown", meant=lambda request: request.method == "GET"), times=failing)
            if failing < 100:
                threading.Timer(1.0, claim.close).start()
        return found

    with ExitStack() as claim:
        claim.enter_context(there.claim(1))
        if failing > 100:
            with pytest.raises(InfrastructureError, match=r"^s3://lab/store.*: the service asks for fewer requests"):
                run_until_done(shared(there, jobs), jobs, run_and_lose_the_store)
            s3.heal()
        else:
            assert sorted(run_until_done(shared(there, jobs), jobs, run_and_lose_the_store)) == [0, 1]
