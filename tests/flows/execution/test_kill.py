from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest

from reeldex.extractors.errors import FfmpegNotFoundError
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.flows.killable import extract_without_prefect, settings
from tests.processes import processes_that_name
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

KILLS = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> Path:
    """Seven videos of several shapes and lengths, one of them broken: three shards."""
    folder = tmp_path_factory.mktemp("videos")
    for index, size in enumerate(("160x120", "96x128", "160x120", "128x96", "160x120", "96x128")):
        make_video(folder / f"video {index}.mp4", seconds=0.4 + 0.7 * (index % 3), size=size)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def datasets(store: Path) -> dict[tuple[str, str], tuple[tuple[int, ...], bytes]]:
    opened = FeatureStore(store)
    return {
        (space, video_id): (rows.shape, rows.tobytes())
        for space in opened.spaces()
        for video_id in opened.ids(space)
        for rows in [opened.read(space, video_id)]
    }


def test_killed_at_random_moments_and_rerun_the_bytes_are_those_of_an_undisturbed_run(
    tmp_path: Path, folder: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "reeldex_test_networks", "reeldex.flows.extraction.shard_work", "reeldex.extractors.network", "h5py"]
    )

    def run(store: Path, kill_after_seconds: float | None = None) -> tuple[bool, float]:
        """Run an extraction; return whether it was killed, and its seconds of work."""
        ready = context.Event()
        process = context.Process(target=extract_without_prefect, args=(str(folder), str(store), ready))
        process.start()
        assert ready.wait(120)
        started = time.monotonic()
        process.join(kill_after_seconds)
        killed = process.is_alive()
        process.kill()
        process.join()
        if not killed:
            assert process.exitcode == 0
        return killed, time.monotonic() - started

    # The shorter one: a run that takes less time than expected ends before it is killed.
    seconds = min(run(tmp_path / "first")[1], run(tmp_path / "undisturbed")[1])
    expected = datasets(tmp_path / "undisturbed")
    assert len(expected) == 2 * 6

    seed = time.time_ns()
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    store, kills = tmp_path / "killed", 0
    for _ in range(KILLS):
        killed, _ = run(store, kill_after_seconds=chance.uniform(0, seconds * 0.6))
        kills += killed
    assert kills, f"no run was killed before its end (seed {seed})"
    # No ffmpeg outlives a killed run.
    wait_until(lambda: not processes_that_name(str(folder)), 20, details=lambda: str(processes_that_name(str(folder))))
    run(store)

    assert datasets(store) == expected, f"seed {seed}"
    opened = FeatureStore(store)
    assert opened.verify().damages == ()
    assert not list((store / "staging").rglob("*.*"))
    status = opened.status()
    assert (status.ok, status.failed, status.pending, status.shards_done) == (6, 1, 0, 3)


def test_a_broken_machine_loses_its_shard_but_not_what_is_staged(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that breaks in the middle of a shard cannot be had otherwise.
    from reeldex.extractors import decoders
    from reeldex.extractors.decode import decode
    from reeldex.flows.extraction.networks import feature_space, load_networks, requested_spaces
    from reeldex.flows.extraction.plan import plan
    from reeldex.flows.extraction.shard_work import run_shard
    from reeldex.flows.extraction.sources import find_videos

    config = settings()
    networks = load_networks(requested_spaces(config), config)
    spaces = [feature_space(network) for network in networks]
    store = FeatureStore(tmp_path / "store", create=True)
    found = find_videos(str(folder), config.extract).videos
    store.add_shards(plan(store, found, [space.name for space in spaces], 10, config.decode).new_shards)
    real = decode

    def breaks_at_the_fourth(source, *rest, **options):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN202
        if source.video_id == "video 3":
            raise FfmpegNotFoundError("ffmpeg has been removed")
        return real(source, *rest, **options)

    one_decoder = config.compute.model_copy(update={"decoders": 1})
    monkeypatch.setattr(decoders, "decode", breaks_at_the_fourth)
    with pytest.raises(FfmpegNotFoundError):
        run_shard(store, networks, shard=0, compute=one_decoder, on_event=lambda _: None)
    staged = store.shard_state(0, spaces)
    assert not staged.done
    assert staged.staged_positions, "what was finished is kept"
    monkeypatch.setattr(decoders, "decode", real)
    report = run_shard(store, networks, shard=0, compute=one_decoder, on_event=lambda _: None)
    assert report.ok + report.failed + len(staged.staged_positions) == len(found)
    assert store.shard_state(0, spaces).done
