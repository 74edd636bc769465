"""One shard per device: a waiting run logs the holder, takes turns, and never waits for a process that is gone."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock, Timeout

from reeldex.flows.execution import device_lock
from reeldex.flows.execution.device_lock import lock_folder, one_shard_at_a_time
from reeldex.flows.execution.errors import RunStoppedError
from reeldex.flows.execution.workers import POOL
from reeldex.flows.progress.work_rate import WorkRate
from tests.waiting import wait_until

CONTEXT = multiprocessing.get_context("spawn")


def _hold(device: str, run: str, connection: Connection) -> None:
    with one_shard_at_a_time(device, run):
        connection.send("held")
        connection.recv()


def _take_turns(device: str, run: str, log: str, ended: Event, other_ended: Event) -> None:
    for _ in range(4):
        with one_shard_at_a_time(device, run):
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(run)
            wait_until(lambda: other_ended.is_set() or _somebody_queues(device), 60)
    ended.set()


def _somebody_queues(device: str) -> bool:
    try:
        with FileLock(lock_folder(device) / ".queue", timeout=0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def _holder(device: str, run: str) -> Iterator[tuple[multiprocessing.context.SpawnProcess, Connection]]:
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_hold, args=(device, run, theirs))
    process.start()
    try:
        assert ours.poll(60)
        assert ours.recv() == "held"
        yield process, ours
    finally:
        process.kill()
        process.join()


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    POOL.resume()


@pytest.mark.slow
def test_a_killed_holder_holds_nothing_and_the_wait_names_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device_lock, "_LOOK_UP_SECONDS", 0.1)
    with _holder("cuda:0", "extract kitchen") as (process, _):
        taken = threading.Event()

        def wait() -> None:
            with one_shard_at_a_time("cuda:0", "extract garden"):
                taken.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not taken.wait(2)
        warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1, "once a minute, however often it looks"
        assert warnings[0].startswith(f"Waiting for cuda:0, which is in use by process {process.pid} on ")
        assert "(run 'extract kitchen')" in warnings[0]
        process.kill()
        assert taken.wait(5)
        waiting.join()


@pytest.mark.slow
def test_a_run_with_many_shards_takes_turns_with_one_that_waits(tmp_path: Path) -> None:
    log = tmp_path / "turns"
    ended = [CONTEXT.Event(), CONTEXT.Event()]
    runs = [
        CONTEXT.Process(target=_take_turns, args=("cpu", name, str(log), *events))
        for name, events in (("a", ended), ("b", ended[::-1]))
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
        assert run.exitcode == 0
    assert log.read_text(encoding="utf-8") in ("abababab", "babababa")


@pytest.mark.slow
def test_waiting_ends_when_the_run_is_stopped() -> None:
    with _holder("cpu", "another"):
        threading.Timer(0.5, POOL.stop).start()
        with pytest.raises(RunStoppedError), one_shard_at_a_time("cpu", "this one"):
            pass
    POOL.resume()


def test_other_devices_and_hosts_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with _holder("cuda:0", "another"):
        with one_shard_at_a_time("cuda:1", "this one"):
            pass
        monkeypatch.setattr("socket.gethostname", lambda: "otherhost")
        with one_shard_at_a_time("cuda:0", "this one"):
            assert lock_folder("cuda:0").parts[-3:] == ("devices", "otherhost", "cuda-0")


def test_waiting_is_not_working_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 100.0
    # A clock set by hand: a machine under load could not tell these spans apart.
    clock = SimpleNamespace(monotonic=lambda: seconds)
    monkeypatch.setattr(sys.modules[WorkRate.__module__], "time", clock)
    rate = WorkRate()
    assert rate.per_second(5.0) == 0.0
    assert rate.seconds_left(0, 10) is None
    seconds += 0.25
    assert rate.worked_seconds == 0.0
    rate.started(0)
    rate.started(1)
    seconds += 1.0
    rate.stopped(0)
    seconds += 2.0
    rate.stopped(1)
    assert rate.worked_seconds == 3.0
    seconds += 4.0
    assert rate.worked_seconds == 3.0
    assert rate.per_second(6.0) == 2.0
    assert rate.seconds_left(2, 4) == 6.0


@pytest.mark.slow
def test_runs_that_take_turns_say_so_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device_lock, "_LOOK_UP_SECONDS", 0.1)
    for _ in range(3):
        with _holder("cpu", "another") as (_, connection):
            threading.Timer(1.0, connection.send, ("release",)).start()
            with one_shard_at_a_time("cpu", "this one"):
                pass
    assert len([record for record in caplog.records if record.message.startswith("Waiting for")]) == 1
