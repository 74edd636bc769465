"""Ten runs race for the shards of one store, and are killed and paused: the store ends as if one had made it alone."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from reeldex.storage.store import FeatureStore
from tests.flows.extraction.racer import LEASE_SECONDS, SPACE, plan, race
from tests.flows.stores import outcomes

RACERS, SHARDS, VIDEOS, MOST_HITS = 10, 40, 3, 25

Start = Callable[[str], BaseProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.flows.extraction.racer"])
    started: list[BaseProcess] = []

    def run(machine: str) -> BaseProcess:
        arguments = (str(tmp_path / "store"), str(tmp_path / "published"), machine)
        process = context.Process(target=race, args=arguments)
        process.start()
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.join()


def _send(process: BaseProcess, number: signal.Signals) -> None:
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, number)


@pytest.mark.slow
@pytest.mark.parametrize("machines", [1, 5])
def test_ten_runs_that_are_killed_and_paused_make_the_store_of_one(tmp_path: Path, start: Start, machines: int) -> None:
    chance = random.Random(machines)  # noqa: S311
    store = plan(tmp_path / "store", SHARDS, VIDEOS)
    racers = [start(f"machine {number % machines}") for number in range(RACERS)]
    paused: list[tuple[float, BaseProcess]] = []
    hit = 0
    while hit < MOST_HITS and len(list((store.path / "outcomes").glob("*.json"))) < SHARDS:
        time.sleep(0.2)  # time is tested: runs are hit at any moment
        one = chance.randrange(RACERS)
        if racers[one].exitcode is not None:
            continue
        hit += 1
        if hit % 3 == 0:
            _send(racers[one], signal.SIGSTOP)
            paused.append((time.monotonic() + 2 * LEASE_SECONDS, racers[one]))
        else:
            racers[one].kill()
            racers[one].join()
        racers[one] = start(f"machine {hit % machines}")
    assert hit >= 6, "too fast to be hit"
    for until, process in paused:
        time.sleep(max(0.0, until - time.monotonic()))  # time is tested: a pause beyond the lease
        _send(process, signal.SIGCONT)
    for process in [*racers, *(process for _, process in paused)]:
        process.join(120)
        # One that was paused may have been taken for dead, and says so.
        assert process.exitcode in ({0} if process in racers else {0, 1, -signal.SIGKILL})
    published = Counter(map(int, (tmp_path / "published").read_text().split()))
    assert published
    assert set(published.values()) == {1}, "no shard is published twice"
    assert len(published) >= SHARDS - hit, "but for those whose publisher was killed before it could tell"
    assert len(outcomes(store.path)) == SHARDS * VIDEOS
    with store.lock(10 * LEASE_SECONDS):
        pass  # clears what the last runs that were killed have left
    assert [path.name for path in (store.path / "claims").iterdir()] == []
    assert list(store.path.rglob(".publishing-*")) == []
    assert list((store.path / "staging").iterdir()) == []
    assert store.verify().damages == ()
    assert _rows(store) == _undisturbed(tmp_path / "alone")


def _rows(store: FeatureStore) -> dict[str, bytes]:
    return {video_id: store.read(SPACE.name, video_id).tobytes() for video_id in store.ids(SPACE.name)}


def _undisturbed(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    store = plan(folder / "store", SHARDS, VIDEOS)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=race, args=(str(store.path), str(folder / "published"), "machine 0"))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return _rows(store)
