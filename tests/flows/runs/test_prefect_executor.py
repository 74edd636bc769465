"""Shards as Prefect tasks: which persisted results a run uses again, on Prefect's test server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prefect import flow

from reeldex.flows.execution.jobs import Job, OnEvent, did_nothing
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.extraction.plan import unfinished
from reeldex.flows.extraction.shard_job import ShardJob
from reeldex.flows.extraction.shared_shards import SharedShards, run_until_done
from reeldex.flows.runs.prefect_executor import PrefectTasks
from reeldex.storage.store import FeatureStore
from tests.flows.extraction.racer import extract_without_networks, plan, settings

pytestmark = pytest.mark.slow

RETRIES = RetryRule(0, 0.0)
T = TypeVar("T")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    # It loads Prefect's server: seconds for each process that collects the tests.
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    # Networks are not what this is about.
    monkeypatch.setattr(ShardJob, "_extract", extract_without_networks)
    monkeypatch.setattr("reeldex.flows.extraction.shared_shards._LOOK_SECONDS", 0.05)
    monkeypatch.setattr("tests.flows.extraction.racer.WORK_SECONDS", 0.0)
    return plan(tmp_path / "store", 1, 1)


class _Worker:
    """A worker in the thread of the task, which remembers what its jobs returned."""

    count = 1

    def __init__(self) -> None:
        self.returned: list[Any] = []

    def run(self, job: Job, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the protocol has it
        self.returned.append(job("cpu", on_event))
        return self.returned[-1]

    def stop(self) -> None:
        pass

    def pause(self, seconds: float) -> None:
        del seconds


def in_a_flow_run(act: Callable[[], T]) -> T:
    """Return what `act` returns in a flow run of its own."""

    @flow(name="shards")
    def shards() -> T:
        return act()

    return shards()


def _job(store: FeatureStore, **options: Any) -> ShardJob:  # noqa: ANN401 - of the job
    (task,) = unfinished(store)
    return ShardJob(str(store.path), 0, task.spaces, settings(), videos=1, inspection=task.inspection, **options)


def _attempt(worker: _Worker, jobs: Sequence[ShardJob]) -> dict[int, Any]:
    """Run jobs as an attempt of the current flow run does that finds nothing lacking."""
    tasks = PrefectTasks(lambda _: nullcontext(worker), lacking=())
    return tasks.run(jobs, "cpu", RETRIES, lambda _: None)


@pytest.mark.parametrize("options", [{"redo": (0,)}, {"complete": True}])
def test_a_shard_that_was_claimed_is_extracted_once_it_is_free(store: FeatureStore, options: dict[str, Any]) -> None:
    job, worker, rounds = _job(store, **options), _Worker(), list[int]()
    with ExitStack() as claim:

        def run_jobs(jobs: Sequence[ShardJob]) -> dict[int, Any]:
            assert len(rounds) < 3, "the result that did nothing is used again and again"
            rounds.append(len(rounds))
            submitted = list(jobs)
            if rounds == [0]:
                claim.enter_context(store.claim(0))  # another run is faster
            found = tasks.run(submitted, "cpu", RETRIES, lambda _: None)
            claim.close()
            return found

        tasks = PrefectTasks(lambda _: nullcontext(worker), lacking=())
        shared = SharedShards(store, [job], lambda _: None, RETRIES)
        results = in_a_flow_run(lambda: run_until_done(shared, [job], run_jobs))
    assert [did_nothing(result) for result in worker.returned] == [True, False]
    assert results[0]["ok"] == 1
    assert unfinished(store) == []


def test_a_later_attempt_uses_again_what_was_extracted_and_not_what_did_nothing(store: FeatureStore) -> None:
    worker = _Worker()

    def attempts() -> list[dict[int, Any]]:
        job = _job(store)
        with store.claim(0):
            claimed = _attempt(worker, [job])
        return [claimed, *(_attempt(worker, [job]) for _ in range(2))]

    claimed, extracted, again = in_a_flow_run(attempts)
    assert did_nothing(claimed[0])
    assert extracted[0]["ok"] == 1
    assert again == extracted
    assert [did_nothing(result) for result in worker.returned] == [True, False], "the third attempt ran nothing"


def test_a_shard_that_an_earlier_attempt_found_completed_is_not_reported_so_again(store: FeatureStore) -> None:
    worker, job = _Worker(), _job(store)
    job("cpu", print)

    def attempts() -> list[dict[int, Any]]:
        return [_attempt(worker, [job]), _attempt(worker, [job])]

    in_a_flow_run(attempts)
    assert [did_nothing(result) for result in worker.returned] == [True, True], "each attempt looks for itself"
