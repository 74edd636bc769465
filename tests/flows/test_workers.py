"""Worker processes: what they answer, how they die, and that none is left behind."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.flows.config.pipeline import parse_config
from reeldex.flows.execution.errors import RunStoppedError, is_infrastructure_fault
from reeldex.flows.execution.worker_process import ShardJob
from reeldex.flows.execution.workers import ShardWorker, WorkerPool
from reeldex.flows.progress.progress import Listener, both
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.schema import VideoEntry, VideoOutcome
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.system.running import running_processes
from tests.waiting import wait_until

SPACES = ("resnet152.random",)
CONFIG = parse_config({"extract": {"weights": "random"}, "compute": {"device": "cpu"}}, "test")


class Heard(Listener):
    """A listener that remembers what it heard."""

    def __init__(self) -> None:
        self.planned_videos: list[tuple[int, int, int]] = []
        self.seconds = 0.0
        self.outcomes: list[tuple[int, VideoOutcome]] = []

    def planned(self, shard: int, videos: int, of: int) -> None:
        self.planned_videos.append((shard, videos, of))

    def decoded(self, seconds: float) -> None:
        self.seconds += seconds

    def finished(self, shard: int, outcome: VideoOutcome) -> None:
        self.outcomes.append((shard, outcome))


def _store(folder: Path, *videos: Path) -> str:
    store = FeatureStore(folder, create=True)
    entries = [VideoEntry(path.stem, str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in videos]
    store.add_shards([ShardManifest(shard, (entry,), SPACES) for shard, entry in enumerate(entries)])
    return str(folder)


@pytest.fixture(scope="module")
def worker() -> ShardWorker:
    return ShardWorker("cpu")


def test_a_worker_does_a_shard_and_tells_of_it(
    worker: ShardWorker, tmp_path: Path, make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    store = _store(tmp_path / "store", make_video(tmp_path / "a.mp4", seconds=2.0), tmp_path / "a.mp4")
    heard = Heard()
    caplog.set_level(logging.INFO, "reeldex")
    logging.getLogger("reeldex").propagate = True
    report = worker.run(ShardJob(store, 0, SPACES, CONFIG), heard)
    assert (report.shard, report.ok, report.failed, report.seconds_of_video) == (0, 1, 0, 2.0)
    assert report.device_seconds > 0
    assert heard.planned_videos == [(0, 1, 1)]
    assert heard.seconds == 2.0
    assert [(shard, outcome.status) for shard, outcome in heard.outcomes] == [(0, "ok")]
    assert "Shard 00000: 1 of 1 videos to extract" in caplog.messages
    first = worker.process_id
    worker.run(ShardJob(store, 0, SPACES, CONFIG), both())
    assert worker.process_id == first, "networks are loaded once"


def test_wrong_use_is_told_from_a_fault_and_keeps_the_worker(worker: ShardWorker, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a feature store"):
        worker.run(ShardJob(str(tmp_path / "nowhere"), 0, SPACES, CONFIG), both())
    first = worker.process_id
    with pytest.raises(UsageError, match="Nothing here extracts"):
        worker.run(ShardJob(str(tmp_path / "nowhere"), 0, ("clip.b32",), CONFIG), both())
    assert worker.process_id == first
    with pytest.raises(UsageError, match="There is no device 'cuda:99'"):
        worker.devices("cuda:99")


def test_a_worker_that_is_killed_is_named_and_replaced(
    worker: ShardWorker, tmp_path: Path, make_video: MakeVideo
) -> None:
    store = _store(tmp_path / "store", make_video(tmp_path / "long.mp4", seconds=600))
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
        worker.run(ShardJob(store, 0, SPACES, CONFIG), both())
    assert worker.devices("cpu") == ("cpu",)
    assert worker.process_id not in (None, killed)


def test_a_stopped_pool_ends_the_work_and_whoever_waits(tmp_path: Path, make_video: MakeVideo) -> None:
    store = _store(tmp_path / "store", make_video(tmp_path / "long.mp4", seconds=600))
    pool = WorkerPool()
    ended: list[type[BaseException]] = []

    def use() -> None:
        try:
            with pool.lend("cpu") as (device, worker):
                assert device == "cpu"
                worker.run(ShardJob(store, 0, SPACES, CONFIG), both())
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


def test_a_worker_ends_with_its_parent_and_takes_its_decoders_along(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "long.mp4", seconds=600)
    store = _store(tmp_path / "store", video)
    script = (
        "from tests.flows.test_workers import CONFIG, SPACES\n"
        "from reeldex.flows.progress.progress import both\n"
        "from reeldex.flows.execution.worker_process import ShardJob\n"
        "from reeldex.flows.execution.workers import ShardWorker\n"
        "if __name__ == '__main__':\n"
        f"    ShardWorker('cpu').run(ShardJob({store!r}, 0, SPACES, CONFIG), both())\n"
    )
    (tmp_path / "parent.py").write_text(script, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], env=environment)
    decoding = f"file:{video}"
    wait_until(lambda: running_processes(decoding), 120, process=parent)
    parent.kill()
    parent.wait()
    wait_until(lambda: not running_processes(decoding), 10)
