"""Workers on a Ray cluster: results, events, log, errors and ends of jobs, as with the processes of one machine."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from reeldex.errors import InfrastructureError, PermanentFaultError, UsageError
from reeldex.flows.config.execution import Engine, ExecutionConfig
from reeldex.flows.execution.engines import workers_of
from reeldex.flows.execution.errors import InternalError, RunStoppedError
from reeldex.flows.execution.head_watch import HeadWatch
from reeldex.flows.execution.jobs import JobStarted, JobStopped
from reeldex.flows.execution.ray_cluster import RayCluster, RayWorker, ray_cluster
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.execution.shares import ClusterNode, Share
from reeldex.flows.execution.thread_executor import ThreadExecutor
from tests.flows.execution.ray_jobs import ClusterJob, Done
from tests.flows.execution.ray_nodes import RayNodes, ray_nodes
from tests.waiting import wait_until

slow = pytest.mark.slow
HEAD, OTHER = "127.0.0.2", "127.0.0.3"
RETRY = RetryRule(retries=2, first_delay_seconds=0.1)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with ray_nodes(HEAD, OTHER) as found:
        yield found


def execution(nodes: RayNodes | None = None, **options: Any) -> ExecutionConfig:  # noqa: ANN401
    address = nodes.address if nodes is not None else "auto"
    return ExecutionConfig(**{"engine": Engine.RAY, "address": address, **options})


def run(
    nodes: RayNodes, jobs: list[ClusterJob], events: list[object] | None = None, devices: str = "auto"
) -> dict[int, Any]:
    on_event = (lambda _: None) if events is None else events.append
    executor = ThreadExecutor(workers_of(execution(nodes), "test"))
    results: dict[int, Any] = executor.run(jobs, devices, RETRY, on_event)
    return results


@slow
def test_jobs_return_and_fail_as_on_one_machine(
    nodes: RayNodes, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "reeldex")
    endings = ("return", "die", "bug", "fail", "return", "lose", "return")
    jobs = [ClusterJob(number, tmp_path / str(number), ending, 50) for number, ending in enumerate(endings)]
    events: list[object] = []
    results = run(nodes, jobs, events)
    assert [type(results[number]) for number in range(7)] == [
        *(Done, Done, InternalError, Done, Done, InfrastructureError, Done)
    ]
    assert results[0].device == "cpu"
    assert results[0].process != os.getpid()
    assert "ZeroDivisionError" in str(results[2])
    assert "the device is lost" in str(results[5])
    assert str(results[5]).startswith("On 127.0.0.")
    attempts = {0: 1, 1: 2, 2: 1, 3: 2, 4: 1, 5: 3, 6: 1}
    for number, count in attempts.items():
        assert events.count(JobStarted(number)) == events.count(JobStopped(number)) == count
    assert len([each for each in events if isinstance(each, int)]) >= 50 * (sum(attempts.values()) - 1)
    assert any(": 100 % of job 4" in record.getMessage() for record in caplog.records)
    assert any(" worker 0 died" in record.getMessage() for record in caplog.records)
    assert capfd.readouterr().out == "", "standard output is for answers"


@slow
def test_jobs_use_the_cores_of_their_share_and_processes_are_kept(nodes: RayNodes, tmp_path: Path) -> None:
    results = run(nodes, [ClusterJob(number, tmp_path / str(number)) for number in range(40)])
    assert len({done.process for done in results.values()}) <= 2
    assert {done.cores for done in results.values()} == {1}


@slow
def test_what_the_user_has_to_change_ends_the_run(nodes: RayNodes, tmp_path: Path) -> None:
    jobs = [ClusterJob(0, tmp_path / "0", "refuse"), *(ClusterJob(n, tmp_path / str(n), "wait") for n in range(1, 5))]
    results = run(nodes, jobs)
    assert isinstance(results[0], UsageError)
    assert "not like this" in str(results[0])
    assert all(isinstance(results[number], RunStoppedError) for number in results if number)
    assert len(results) == 2


@slow
def test_a_stop_ends_jobs_that_run_and_jobs_that_wait_for_a_worker(nodes: RayNodes, tmp_path: Path) -> None:
    with workers_of(execution(nodes), "test")("auto") as workers:
        found: list[BaseException] = []

        def work(number: int) -> None:
            try:
                workers.run(ClusterJob(number, tmp_path / str(number), "wait"), lambda _: None)
            except BaseException as error:  # noqa: BLE001 - looked at below
                found.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2, 60)
        workers.stop()
        for thread in threads:
            thread.join(30)
        assert [type(error) for error in found] == [RunStoppedError] * 4


@slow
def test_a_node_that_comes_back_is_used_again(
    nodes: RayNodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with workers_of(execution(nodes), "test")("cpu") as workers:
        events: list[object] = []
        wait_until(lambda: workers.run(ClusterJob(0, tmp_path / "0"), events.append), 60)
        nodes.kill(OTHER)
        nodes.start(OTHER)

        def worker(_: int) -> str:
            devices = list[str]()

            def on_event(event: object) -> None:
                if isinstance(event, JobStarted):
                    devices.append(event.device)

            try:
                workers.run(ClusterJob(0, tmp_path / "0", "linger"), on_event)
            except InfrastructureError:
                return ""
            return devices[0]

        def used() -> set[str]:
            # Lost workers are replaced when a job has none.
            with ThreadPoolExecutor(2) as threads:
                return set(threads.map(worker, range(2)))

        wait_until(lambda: f"{OTHER} worker 0" in used(), 120)


@slow
def test_with_gpus_in_the_cluster_each_gets_a_worker_that_sees_no_other(nodes: RayNodes, tmp_path: Path) -> None:
    nodes.start("127.0.0.4", gpus=2)  # Ray counts GPUs, and looks for none
    try:
        events: list[object] = []
        results = run(nodes, [ClusterJob(number, tmp_path / str(number), "linger") for number in range(12)], events)
        assert {(done.device, done.gpus) for done in results.values()} == {("cuda:0", "0"), ("cuda:0", "1")}
        assert len({done.process for done in results.values()}) == 2
        devices = {event.device for event in events if isinstance(event, JobStarted)}
        assert devices == {"127.0.0.4 worker 0", "127.0.0.4 worker 1"}
    finally:
        nodes.kill("127.0.0.4")
        with ray_cluster(nodes.address) as cluster:
            wait_until(lambda: "127.0.0.4" not in [node.name for node in cluster.nodes()], 120)


@slow
def test_a_program_that_is_connected_already_stays_so(nodes: RayNodes, tmp_path: Path) -> None:
    import ray

    ray.init(address=nodes.address, log_to_driver=False)
    try:
        assert isinstance(run(nodes, [ClusterJob(0, tmp_path / "0")], devices="cpu")[0], Done)
        assert ray.is_initialized()
    finally:
        ray.shutdown()


# References to objects of Ray become garbage all the time, also while the connection is closed.
_GARBAGE_OF_RAY = """
import gc, sys, threading, time
from reeldex.flows.execution.ray_cluster import ray_cluster

class Cycle:
    pass

def drop(references):
    while references and not ended.is_set():
        cycle = Cycle()
        cycle.itself, cycle.reference = cycle, references.pop()
        del cycle
        time.sleep(0.002)  # time is tested: the references last for longer than the connection takes to close

ended = threading.Event()
gc.set_threshold(50, 1, 1)
with ray_cluster(sys.argv[1]):
    import ray
    dropping = threading.Thread(target=drop, args=([ray.put(number) for number in range(5000)],))
    dropping.start()
left = dropping.is_alive()
ended.set()
dropping.join()
assert left, "the references were gone before the connection was"
assert gc.isenabled()
"""


@slow
def test_garbage_in_another_thread_does_not_end_the_process_that_leaves_a_cluster(nodes: RayNodes) -> None:
    command = [sys.executable, "-c", _GARBAGE_OF_RAY, nodes.address]
    ended = subprocess.run(command, env=nodes.environment, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


@slow
def test_a_cluster_without_room_for_a_worker_is_refused(nodes: RayNodes) -> None:
    for options, devices, said in (
        ({"cpus_per_worker": 64}, "auto", "64 CPUs"),
        ({}, "cuda", "1 GPU"),
        ({"memory_per_worker_bytes": 1 << 50}, "cpu", "of memory"),
    ):
        with (
            pytest.raises(UsageError, match=said) as refused,
            workers_of(execution(nodes, **options), "test")(devices),
        ):
            pass
        assert f"{OTHER}: 1 CPU, 0 GPUs" in str(refused.value)


def test_an_address_where_nothing_answers_is_refused_at_once() -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with (
        pytest.raises(UsageError, match=r"No Ray cluster answers at 127\.0\.0\.1:9 "),
        workers_of(execution(address="127.0.0.1:9"), "test")("auto"),
    ):
        pass


def test_a_cluster_that_does_not_answer_is_a_fault_that_may_pass() -> None:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        head = HeadWatch(f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(InfrastructureError, match=r"head node of the Ray cluster does not answer \(RaySystemError"):
            RayCluster(ray, head).nodes()
        head.close()


def worker_that_dies(head: HeadWatch) -> tuple[RayWorker, Any]:
    """A worker on a healthy node that dies at once, and Ray's modules, which are made up: no cluster ends in time."""
    exceptions = pytest.importorskip("ray", reason="the extra `ray` is not installed").exceptions
    died = exceptions.ActorDiedError()
    facts: Future[Any] = Future()
    facts.set_exception(died)
    ray = MagicMock(exceptions=exceptions)
    ray.remote().options().remote().facts.remote().future.return_value = facts
    ray.wait.side_effect = died
    return RayWorker(ray, Share(ClusterNode("ab" * 28, "healthy", 1, 0, 1e9), 0, "cpu", 1, 0, 0), head), ray


def start_error(worker: RayWorker) -> object:
    found: list[object] = []
    worker.when_started(lambda _, error: found.append(error))
    return found[0]


def test_a_lost_head_node_is_not_said_to_be_the_death_of_another_node() -> None:
    head = HeadWatch("127.0.0.1:9", silent_seconds=0.3)
    worker, _ = worker_that_dies(head)
    with pytest.raises(PermanentFaultError, match=r"^The head node of the Ray cluster .* has not answered"):
        next(worker.messages(ClusterJob(0, Path("unused"))))
    error = start_error(worker)
    assert isinstance(error, PermanentFaultError)
    assert "healthy" not in str(error)
    head.close()


def test_a_node_is_said_to_be_dead_only_if_the_cluster_says_so() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        head = HeadWatch(f"127.0.0.1:{server.getsockname()[1]}")
        worker, ray = worker_that_dies(head)
        ray.nodes.side_effect = ray.exceptions.RaySystemError("no answer")
        assert str(start_error(worker)).startswith("The healthy worker 0 died")
        ray.nodes.side_effect = list
        assert str(start_error(worker)).startswith("The node healthy died")
        head.close()


def test_without_ray_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install -e '\.\[ray\]'"), workers_of(execution(), "test")("auto"):
        pass


@pytest.mark.slow
def test_a_call_without_a_connection_starts_no_cluster() -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    call = (
        "from reeldex.flows.execution.ray_cluster import ray_module\n"
        "ray = ray_module()\n"
        "try:\n    ray.put(1)\n"
        "except Exception as error:\n    print(type(error).__name__, ray.is_initialized())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ENABLE_AUTO_CONNECT"}
    answer = subprocess.run(
        [sys.executable, "-c", call], capture_output=True, text=True, env=environment, check=False, timeout=120
    )
    assert answer.stdout.split()[-1:] == ["False"], answer.stderr
