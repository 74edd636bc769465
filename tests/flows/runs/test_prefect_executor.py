"""Shards as Prefect tasks, in threads and in processes of Ray: their results, retries and ends.

On a Prefect server. The shards themselves are extracted by a worker in this process.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import FlowRunSort

from reeldex.errors import InfrastructureError, PermanentFaultError, UsageError
from reeldex.flows.config.execution import OF_THIS_RUN, Engine, ExecutionConfig, TaskRunnerName
from reeldex.flows.execution.errors import RunStoppedError
from reeldex.flows.execution.jobs import Job, OnEvent, did_nothing
from reeldex.flows.execution.ray_cluster import ray_cluster
from reeldex.flows.execution.ray_requests import ask
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.extract import FORM as EXTRACT_FORM
from reeldex.flows.extract import extract
from reeldex.flows.extraction.plan import unfinished
from reeldex.flows.extraction.shard_job import ShardJob
from reeldex.flows.extraction.shared_shards import SharedShards, run_until_done
from reeldex.flows.rerun import FORM as RERUN_FORM
from reeldex.flows.rerun import rerun
from reeldex.flows.runs import prefect_executor
from reeldex.flows.runs.prefect_executor import PrefectTasks, RunTasks, require_task_runner, task_runner_of
from reeldex.flows.runs.ray_tasks import in_ray
from reeldex.storage.errors import StoreVanishedError
from reeldex.storage.store import FeatureStore
from tests.flows.execution import ray_nodes as _ray_nodes  # noqa: F401 - with it, Ray asks for a token
from tests.flows.extraction.racer import extract_without_networks, plan, settings
from tests.processes import processes_that_name
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("flow_runs_on_server")]

RETRIES = RetryRule(0, 0.0)
_MARK = f"prefect-executor-{secrets.token_hex(8)}"
T = TypeVar("T")


@pytest.fixture(scope="module")
def connections() -> Iterator[ExitStack]:
    with pytest.MonkeyPatch.context() as environment, ExitStack() as stack:
        environment.setenv("TEST_NODE", _MARK)
        yield stack


@pytest.fixture
def cluster(connections: ExitStack) -> None:
    """Ray on this machine, to which this process is connected."""
    pytest.importorskip("prefect_ray", reason="the extra `prefect-ray` is not installed")
    import ray

    if not ray.is_initialized():  # by an earlier test
        connections.enter_context(ray_cluster(OF_THIS_RUN))


@pytest.fixture(params=list(TaskRunnerName))
def run_tasks(request: pytest.FixtureRequest) -> RunTasks:
    """What runs the tasks, as the configuration names it."""
    if request.param is TaskRunnerName.RAY:
        request.getfixturevalue("cluster")
    return task_runner_of(ExecutionConfig(engine=Engine.RAY, task_runner=request.param))


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


_acts: list[Callable[[], Any]] = []


def _act() -> Any:  # noqa: ANN401
    return _acts.pop()()


# prefect-ray pickles it, with what it encloses.
@flow(name="shards")
def shards() -> object:
    return _act()


def in_a_flow_run(act: Callable[[], T]) -> T:
    """Return what `act` returns in a flow run of its own."""
    _acts.append(act)
    return cast("T", shards())


def _job(store: FeatureStore, **options: Any) -> ShardJob:  # noqa: ANN401 - of the job
    (task,) = unfinished(store)
    return ShardJob(str(store.path), 0, task.spaces, settings(), videos=1, inspection=task.inspection, **options)


def _attempt(worker: _Worker, jobs: Sequence[ShardJob], run_tasks: RunTasks) -> dict[int, Any]:
    """Run jobs as an attempt of the current flow run does that finds nothing lacking."""
    tasks = PrefectTasks(lambda _: nullcontext(worker), (), run_tasks)
    return tasks.run(jobs, "cpu", RETRIES, lambda _: None)


@pytest.mark.parametrize("options", [{"redo": (0,)}, {"complete": True}])
def test_a_shard_that_was_claimed_is_extracted_once_it_is_free(
    store: FeatureStore, options: dict[str, Any], run_tasks: RunTasks
) -> None:
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

        tasks = PrefectTasks(lambda _: nullcontext(worker), (), run_tasks)
        shared = SharedShards(store, [job], lambda _: None, RETRIES)
        results = in_a_flow_run(lambda: run_until_done(shared, [job], run_jobs))
    assert [did_nothing(result) for result in worker.returned] == [True, False]
    assert results[0]["ok"] == 1
    assert unfinished(store) == []


def test_a_later_attempt_uses_again_what_was_extracted_and_not_what_did_nothing(
    store: FeatureStore, run_tasks: RunTasks
) -> None:
    worker = _Worker()

    def attempts() -> list[dict[int, Any]]:
        job = _job(store)
        with store.claim(0):
            claimed = _attempt(worker, [job], run_tasks)
        return [claimed, *(_attempt(worker, [job], run_tasks) for _ in range(2))]

    claimed, extracted, again = in_a_flow_run(attempts)
    assert did_nothing(claimed[0])
    assert extracted[0]["ok"] == 1
    assert again == extracted
    assert [did_nothing(result) for result in worker.returned] == [True, False], "the third attempt ran nothing"


def test_a_shard_that_an_earlier_attempt_found_completed_is_not_reported_so_again(
    store: FeatureStore, run_tasks: RunTasks
) -> None:
    worker, job = _Worker(), _job(store)
    job("cpu", print)

    def attempts() -> list[dict[int, Any]]:
        return [_attempt(worker, [job], run_tasks), _attempt(worker, [job], run_tasks)]

    in_a_flow_run(attempts)
    assert [did_nothing(result) for result in worker.returned] == [True, True], "each attempt looks for itself"


class _FaultyWorkers:
    """Workers whose jobs fail with these errors, one after the other, and after that wait until they are stopped."""

    count = 2

    def __init__(self, *faults: BaseException) -> None:
        self._faults = list(faults)
        self._stopped = threading.Event()
        self.begun: list[int] = []
        self.pauses: list[float] = []

    def run(self, job: Job, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the protocol has it
        self.begun.append(job.number)
        on_event(job.number)
        # Each fault comes once both jobs run, so that the other one is there to be stopped.
        wait_until(lambda: self._stopped.is_set() or len(set(self.begun)) == self.count, 60)
        if self._faults and job.number == 0:
            raise self._faults.pop(0)
        self._stopped.wait(60)
        raise RunStoppedError("stopped")

    def stop(self) -> None:
        self._stopped.set()

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def _two_jobs(store: FeatureStore) -> list[ShardJob]:
    return [replace(_job(store), shard=shard) for shard in range(2)]


def _states_of_tasks() -> list[str]:
    """Return the types of the states of all tasks of the newest flow run."""
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    return sorted(str(task.state_type and task.state_type.value) for task in tasks)


def test_faults_of_the_machine_are_retried_and_one_that_lasts_ends_the_run(
    store: FeatureStore, run_tasks: RunTasks
) -> None:
    workers = _FaultyWorkers(InfrastructureError("The worker died."), PermanentFaultError("The disk is full."))
    events: list[object] = []
    tasks = PrefectTasks(lambda _: nullcontext(workers), (), run_tasks)
    results = in_a_flow_run(lambda: tasks.run(_two_jobs(store), "cpu", RetryRule(3, 2.5), events.append))
    assert {number: type(error) for number, error in results.items()} == {0: PermanentFaultError, 1: RunStoppedError}
    assert str(results[0]) == "The disk is full."
    assert (sorted(workers.begun), workers.pauses) == ([0, 0, 1], [2.5])
    assert sorted(events, key=str) == [0, 0, 1], "they arrive in this process"
    wait_until(lambda: _states_of_tasks() == ["FAILED"] * 2, 60)


def test_a_run_that_is_interrupted_stops_its_tasks(
    store: FeatureStore, run_tasks: RunTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = _FaultyWorkers()

    @contextmanager
    def connected() -> Iterator[_FaultyWorkers]:
        """As workers of a cluster, these end its connection, and with it the processes of its tasks."""
        try:
            yield workers
        finally:
            if "ray" in sys.modules:
                sys.modules["ray"].shutdown()

    monkeypatch.setattr(prefect_executor, "_END_SECONDS", 60.0)  # of a slow machine
    tasks = PrefectTasks(lambda _: connected(), (), run_tasks)

    def interrupted() -> None:
        def interrupt() -> None:
            wait_until(lambda: len(workers.begun) == 2, 60)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            tasks.run(_two_jobs(store), "cpu", RETRIES, lambda _: None)
        thread.join()

    in_a_flow_run(interrupted)
    wait_until(lambda: _states_of_tasks() == ["FAILED"] * 2, 60)


def _kill(name: str) -> None:
    """Kill the processes of this name that belong to the Ray of these tests."""
    for process in set(processes_that_name(name)) & set(processes_that_name(_MARK)):
        os.kill(process, signal.SIGKILL)


def test_the_death_of_the_process_of_a_task_loses_its_shard_in_words(store: FeatureStore, cluster: None) -> None:
    class Killing(_Worker):
        """A worker that goes on while the task which asked it dies."""

        def run(self, job: Job, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the protocol has it
            _kill("ray::extract-shard")
            return super().run(job, on_event)

    del cluster
    results = in_a_flow_run(lambda: _attempt(Killing(), [_job(store)], in_ray))
    assert isinstance(results[0], InfrastructureError)
    assert "The Prefect task of the shard failed, not its extraction" in str(results[0])
    assert unfinished(store) == [], "what was being extracted is published all the same"


def test_an_error_that_is_pickled_twice_keeps_the_name_of_its_node(store: FeatureStore, run_tasks: RunTasks) -> None:
    error = StoreVanishedError(store.path)
    error.args = (f"On node b: {error}",)
    worker = _Worker()
    worker.run = lambda *_: _raise(error)  # type: ignore[method-assign]
    results = in_a_flow_run(lambda: _attempt(worker, [_job(store)], run_tasks))
    assert str(results[0]).startswith("On node b: ")


def _raise(error: Exception) -> None:
    raise error


def test_prefect_ray_that_is_not_installed_is_named_before_anything_is_planned(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prefect_ray", None)
    # Of this module, the cluster is what prepares a run ask for.
    monkeypatch.setattr("reeldex.flows.extraction.prepare.require_engine", lambda _: None)
    execution = ExecutionConfig(engine=Engine.RAY, task_runner=TaskRunnerName.RAY)
    config = settings().model_copy(update={"execution": execution})
    before = sorted(store.path.rglob("*"))
    (tmp_path / "a.mp4").touch()
    said = r"task_runner: ray needs .*pip install -e '\.\[prefect-ray\]'"
    with pytest.raises(UsageError, match=said):
        extract(source=str(tmp_path / "a.mp4"), store=str(store.path), **EXTRACT_FORM.parameters(config))
    with pytest.raises(UsageError, match=said):
        rerun(store=str(store.path), **RERUN_FORM.parameters(config))
    assert sorted(store.path.rglob("*")) == before
    require_task_runner(ExecutionConfig(engine=Engine.LOCAL, task_runner=TaskRunnerName.RAY))


def test_the_death_of_the_actor_between_ends_the_run(store: FeatureStore, cluster: None) -> None:
    class Killing(_FaultyWorkers):
        """Workers during whose first job the actor dies that the tasks ask."""

        def run(self, job: Job, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the protocol has it
            _kill("ray::RequestQueue")
            return super().run(job, on_event)

    del cluster
    workers = Killing()
    tasks = PrefectTasks(lambda _: nullcontext(workers), (), in_ray)
    jobs = [replace(_job(store), shard=shard) for shard in range(9)]
    results = in_a_flow_run(lambda: tasks.run(jobs, "cpu", RETRIES, lambda _: None))
    assert {type(error) for error in results.values()} <= {PermanentFaultError, RunStoppedError}
    assert PermanentFaultError in {type(error) for error in results.values()}
    assert len(results) <= workers.count, "no further shard is begun"


def test_who_asks_nobody_is_told_so(cluster: None) -> None:
    del cluster
    with pytest.raises(PermanentFaultError, match="cannot ask the process of its run"):
        ask("nobody", 1)
