"""What a run does with shards that others claim, complete or abandon while it works."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reeldex.errors import InfrastructureError, PermanentFaultError
from reeldex.flows.extraction.plan import unfinished
from reeldex.flows.extraction.shard_job import ShardJob, was_claimed
from reeldex.flows.extraction.shared_shards import SharedShards, run_until_done
from reeldex.storage.store import FeatureStore
from tests.flows.extraction.racer import LEASE_SECONDS, extract_without_networks, plan, settings

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
    return SharedShards(store, jobs, [job.shard for job in jobs], lambda job: tell.append(job.shard))


def test_a_run_alone_does_all_shards_in_order(store: FeatureStore) -> None:
    jobs, runs = jobs_of(store), Runs()
    results = run_until_done(shared(store, jobs), jobs, runs)
    assert runs.ran == [0, 1, 2, 3]
    assert not any(map(was_claimed, results.values()))
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
    assert was_claimed(result)
    assert "claimed by process" in result["claimed_by"]
    assert store.outcomes(0) is None


def test_what_was_completed_between_the_plan_and_the_run_is_not_submitted(store: FeatureStore) -> None:
    jobs, runs = jobs_of(store), Runs()
    assert not was_claimed(jobs[2]("cpu", print))
    run_until_done(shared(store, jobs), jobs, runs)
    assert runs.ran == [0, 1, 3]


@pytest.mark.parametrize("fault", [PermanentFaultError("the disk is full"), None])
def test_a_fault_that_ends_a_run_does_not_make_it_wait_for_others(store: FeatureStore, fault: Exception | None) -> None:
    jobs = jobs_of(store)
    results: dict[int, Any] = {0: fault} if fault else dict.fromkeys((0, 1, 2), InfrastructureError("no device"))
    with store.claim(3):
        found = run_until_done(shared(store, jobs), jobs, Runs(results))
    assert 3 not in found
    assert isinstance(found[0], InfrastructureError)
