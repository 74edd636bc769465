"""Worker processes: what they answer, how they die, and that none is left behind."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.flows.config.pipeline import parse_config
from reeldex.flows.execution.errors import RunStoppedError, is_infrastructure_fault
from reeldex.flows.execution.workers import Worker, WorkerPool
from reeldex.flows.extraction.events import ShardPlanned, VideoDecoded, VideoFinished
from reeldex.flows.extraction.shard_job import ShardJob
from reeldex.flows.extraction.shard_work import ShardReport
from reeldex.storage.json_codec import from_json
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.schema import VideoEntry
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.processes import running_processes
from tests.waiting import wait_until

if TYPE_CHECKING:
    from reeldex.flows.execution.jobs import OnEvent

SPACES = ("resnet152.random",)
CONFIG = parse_config({"extract": {"weights": "random"}, "compute": {"device": "cpu"}}, "test")


def _ignore(_: object) -> None:
    """For tests in which no event matters."""


def _store(folder: Path, *videos: Path) -> str:
    store = FeatureStore(folder, create=True)
    entries = [VideoEntry(path.stem, str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in videos]
    store.add_shards([ShardManifest(shard, (entry,), SPACES) for shard, entry in enumerate(entries)])
    return str(folder)


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker("cpu")


@pytest.mark.slow
def test_a_worker_does_a_shard_and_tells_of_it(
    worker: Worker, tmp_path: Path, make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    store = _store(tmp_path / "store", make_video(tmp_path / "a.mp4", seconds=2.0))
    events: list[object] = []
    caplog.set_level(logging.INFO, "reeldex")
    report = from_json(ShardReport, worker.run(ShardJob(store, 0, SPACES, CONFIG), "cpu", events.append))
    assert (report.shard, report.ok, report.failed, report.seconds_of_video) == (0, 1, 0, 2.0)
    assert report.device_seconds > 0
    assert events[0] == ShardPlanned(0, 1, 1)
    assert sum(each.seconds for each in events if isinstance(each, VideoDecoded)) == 2.0
    assert [(each.shard, each.outcome.status) for each in events if isinstance(each, VideoFinished)] == [(0, "ok")]
    assert "Shard 00000: 1 of 1 videos to extract" in caplog.messages
    first = worker.process_id
    worker.run(ShardJob(store, 0, SPACES, CONFIG), "cpu", _ignore)
    assert worker.process_id == first, "networks are loaded once"


@pytest.mark.slow
def test_wrong_use_is_told_from_a_fault_and_keeps_the_worker(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a feature store"):
        worker.run(ShardJob(str(tmp_path / "nowhere"), 0, SPACES, CONFIG), "cpu", _ignore)
    first = worker.process_id
    with pytest.raises(UsageError, match="No registered extractor makes"):
        worker.run(ShardJob(str(tmp_path / "nowhere"), 0, ("clip.b32",), CONFIG), "cpu", _ignore)
    assert worker.process_id == first
    with pytest.raises(UsageError, match="Device 'cuda:99' is not available"):
        worker.devices("cuda:99")


@dataclass(frozen=True)
class Counting:
    """A job that reports its own number three times and returns it."""

    number: int

    def __call__(self, device: str, on_event: OnEvent) -> int:
        for _ in range(3):
            on_event((device, self.number))
        return self.number


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError(errno.EPIPE, "Broken pipe"), KeyError("a bug"), InfrastructureError("full")])
def test_an_event_that_cannot_be_handled_leaves_no_messages_to_the_next_job(worker: Worker, error: Exception) -> None:
    def refuse(_: object) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        worker.run(Counting(1), "cpu", refuse)
    assert raised.value is error, "the process has not died"
    events: list[object] = []
    assert worker.run(Counting(2), "cpu", events.append) == 2
    assert events == [("cpu", 2)] * 3


@pytest.mark.slow
def test_a_worker_that_is_killed_is_named_and_replaced(worker: Worker, tmp_path: Path, make_video: MakeVideo) -> None:
    store = _store(tmp_path / "store", make_video(tmp_path / "long.mp4", seconds=600, rate=1))
    (tmp_path / "short").mkdir()
    worker.devices("auto")
    killed = worker.process_id
    assert killed is not None
    decoding = f"file:{tmp_path / 'long.mp4'}"

    def kill_while_it_decodes() -> None:
        wait_until(lambda: running_processes(decoding), 60)
        os.kill(killed, signal.SIGKILL)

    threading.Thread(target=kill_while_it_decodes).start()
    with pytest.raises(InfrastructureError, match=f"The worker process {killed} of cpu was killed by SIGKILL"):
        worker.run(ShardJob(store, 0, SPACES, CONFIG), "cpu", _ignore)
    assert worker.devices("cpu") == ("cpu",)
    assert worker.process_id not in (None, killed)


@pytest.mark.slow
def test_a_stopped_pool_ends_running_and_waiting_jobs(tmp_path: Path, make_video: MakeVideo) -> None:
    store = _store(tmp_path / "store", make_video(tmp_path / "long.mp4", seconds=600, rate=1))
    pool = WorkerPool()
    ended: list[type[BaseException]] = []

    def use() -> None:
        try:
            with pool.lend("cpu") as (device, worker):
                assert device == "cpu"
                worker.run(ShardJob(store, 0, SPACES, CONFIG), "cpu", _ignore)
        except RunStoppedError as error:
            ended.append(type(error))

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: running_processes(f"file:{tmp_path / 'long.mp4'}"), 60)
    pool.stop()
    for thread in threads:
        thread.join(20)
    assert ended == [RunStoppedError, RunStoppedError]
    with pytest.raises(RunStoppedError):
        pool.pause(60)
    pool.resume()
    pool.pause(0.01)


def test_devices_are_lent_one_shard_each() -> None:
    pool = WorkerPool()
    pool._devices["two"] = ("cpu:0", "cpu:1")  # this machine has but one
    with pool.lend("two") as (first, _), pool.lend("two") as (second, _):
        assert {first, second} == {"cpu:0", "cpu:1"}
        lent = threading.Event()

        def wait() -> None:
            with pool.lend("two"):
                lent.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert not lent.wait(0.2)
    assert lent.wait(10)
    thread.join(10)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(28, "No space left on device"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DataLoader worker (pid 71) is killed by signal: Killed."),
    ],
)
def test_faults_of_the_machine_are_told_from_bugs(error: Exception) -> None:
    assert is_infrastructure_fault(error)
    assert not is_infrastructure_fault(RuntimeError("a bug"))
    assert not is_infrastructure_fault(KeyError("a bug"))


@pytest.mark.slow
def test_a_worker_ends_with_its_parent_and_takes_its_decoders_along(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "long.mp4", seconds=600, rate=1)
    store = _store(tmp_path / "store", video)
    script = (
        "from tests.flows.execution.test_workers import CONFIG, SPACES\n"
        "from reeldex.flows.extraction.shard_job import ShardJob\n"
        "from reeldex.flows.execution.workers import Worker\n"
        "if __name__ == '__main__':\n"
        f"    Worker('cpu').run(ShardJob({store!r}, 0, SPACES, CONFIG), 'cpu', print)\n"
    )
    (tmp_path / "parent.py").write_text(script, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], env=environment)
    decoding = f"file:{video}"
    wait_until(lambda: running_processes(decoding), 120, process=parent)
    parent.kill()
    parent.wait()
    wait_until(lambda: not running_processes(decoding), 10)
