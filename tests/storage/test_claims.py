"""Claims on a store: a holder that was overtaken changes nothing, wherever it was paused; runs, commands and sweeps."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from reeldex.storage import layout
from reeldex.storage.atomic import publish, remove_file
from reeldex.storage.claims import fence_of
from reeldex.storage.errors import (
    ClaimHeldError,
    ClaimLostError,
    RunLostError,
    StoreBusyError,
    StoreUnreadableError,
    StoreVanishedError,
)
from reeldex.storage.lease_medium import LeaseFolder
from reeldex.storage.lease_owner import LeaseOwner
from reeldex.storage.lease_record import FoundLease, LeaseRecord
from reeldex.storage.leases import Leases
from reeldex.storage.schema import VideoOutcome
from reeldex.storage.store import FeatureStore
from reeldex.storage.workspace import Workspace
from tests.storage.conftest import TWO_D, Fill, Grow, MakeRows
from tests.waiting import wait_until

ELSEWHERE = LeaseOwner("node2", "another boot", "7@7", "reeldex extract", "2026-01-01T00:00:00+00:00")


class Impatient(Leases):
    """Takes every lease for abandoned."""

    def is_abandoned(self, found: FoundLease) -> bool:
        return bool(found.name)


def overtake(store: FeatureStore) -> None:
    """Take over all claims, as an observer does after their time of silence, and release them."""
    medium = LeaseFolder(layout.claims_folder(store.path))
    Impatient(medium).clear("", LeaseOwner.this_process(), fence_of(store.path))


def leave(store: FeatureStore, key: str, lease_seconds: float, owner: LeaseOwner = ELSEWHERE) -> LeaseRecord:
    record = LeaseRecord("run", "f00d", lease_seconds, 0, owner)
    assert LeaseFolder(layout.claims_folder(store.path)).create(f"{key}.1.json", record.content())
    return record


def content(store: FeatureStore) -> dict[str, object]:
    """All files of a store, with what changes when they are written."""
    return {
        path.relative_to(store.path).as_posix(): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(store.path.rglob("*"))
        if path.is_file()
    }


def claims(store: FeatureStore) -> list[str]:
    return sorted(path.name for path in (store.path / "claims").iterdir())


@pytest.fixture
def staged(store: FeatureStore, grow: Grow, fill: Fill) -> FeatureStore:
    """A store with one shard, whose two videos are staged."""
    grow("a", "b")
    fill(0, publish=False)
    return store


def put(store: FeatureStore, make_rows: MakeRows) -> None:
    rows = make_rows("other")
    store.staging(0).put(0, VideoOutcome("a", "/videos/a.mp4", "ok", None, "", 1), {TWO_D: rows})


CHANGES: dict[str, Callable[[FeatureStore, MakeRows], object]] = {
    "publish": lambda store, _: store.publish_shard(0, [TWO_D], provenance={}, seconds_of_work=1.0),
    "stage": put,
    "clear": lambda store, _: store.staging(0).clear(),
    "discard": lambda store, _: store.staging(0).discard([1]),
}


def test_a_holder_that_had_nothing_to_change_learns_that_it_was_overtaken(staged: FeatureStore) -> None:
    with pytest.raises(ClaimLostError, match="shard-00000 of"), staged.claim(0):
        overtake(staged)


@pytest.mark.parametrize("change", CHANGES)
def test_a_holder_that_was_overtaken_changes_nothing(staged: FeatureStore, make_rows: MakeRows, change: str) -> None:
    def late() -> None:
        with staged.claim(0):
            overtake(staged)
            before.update(content(staged))
            CHANGES[change](staged, make_rows)

    before: dict[str, object] = {}
    with pytest.raises(ClaimLostError, match=r"shard-00000 of .*/store: another process took it over"):
        late()
    assert content(staged) == before
    assert claims(staged) == []
    with staged.claim(0):
        CHANGES[change](staged, make_rows)
    assert content(staged) != before, "with the claim, it changes something"
    assert claims(staged) == []


def test_a_holder_that_was_overtaken_while_it_writes_changes_nothing(staged: FeatureStore) -> None:
    def late() -> None:
        with staged.claim(0), publish(staged.path / "outcomes/shard-00000.json") as temporary:
            temporary.write_text("late")
            overtake(staged)

    with pytest.raises(ClaimLostError):
        late()
    assert os.listdir(staged.path / "outcomes") == []  # noqa: PTH208


def test_an_error_of_a_holder_that_was_overtaken_is_stated_as_the_loss(staged: FeatureStore) -> None:
    def late() -> None:
        with staged.claim(0):
            overtake(staged)
            raise KeyError("staged, and published by another since")

    with pytest.raises(ClaimLostError):
        late()


PAUSED = """
import os, signal, sys
from pathlib import Path
from reeldex.storage.errors import ClaimLostError
from reeldex.storage.store import FeatureStore
from tests.storage.conftest import TWO_D

store, left = FeatureStore(sys.argv[1]), int(sys.argv[2])

def paused(move):
    def moved(*arguments):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        return move(*arguments)
    return moved

try:
    with store.claim(0, lease_seconds=0.5):
        Path.replace, Path.rename = paused(Path.replace), paused(Path.rename)
        store.publish_shard(0, [TWO_D], provenance={"by": "late"}, seconds_of_work=1.0)
except ClaimLostError:
    sys.exit(3)
"""


# Before the feature file, the outcomes, and the staging folder are renamed, and when all is done.
@pytest.mark.parametrize("move", [1, 2, 3, 4])
@pytest.mark.slow
def test_a_process_that_is_paused_just_before_a_rename_is_overtaken(staged: FeatureStore, move: int) -> None:
    late = subprocess.Popen([sys.executable, "-c", PAUSED, str(staged.path), str(move)])
    try:
        stat = Path(f"/proc/{late.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 60, process=late)
        with ExitStack() as claim:
            wait_until(lambda: _claimed(staged, claim), 60)
            staged.publish_shard(0, [TWO_D], provenance={"by": "next"}, seconds_of_work=2.0)
            before = content(staged)
            late.send_signal(signal.SIGCONT)
            assert late.wait(60) == (3 if move < 4 else 0)
            assert content(staged) == before
        outcomes = staged.outcomes(0)
        assert outcomes is not None
        # What the late one had published before it was overtaken counts, and is not published again.
        assert outcomes.provenance == {"by": "late" if move > 2 else "next"}
        assert staged.ids("net2d.v1") == ["a", "b"]
        assert staged.verify().damages == ()
    finally:
        late.kill()
        late.wait()
    assert claims(staged) == []


def _claimed(store: FeatureStore, claim: ExitStack) -> bool:
    try:
        claim.enter_context(store.claim(0))
    except ClaimHeldError:
        return False
    return True


def test_a_dead_workers_shard_is_taken_over_with_what_it_had_staged(staged: FeatureStore) -> None:
    script = (
        "import os, sys; from reeldex.storage.store import FeatureStore\n"
        "with FeatureStore(sys.argv[1]).claim(0): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(staged.path)], check=False).returncode == 9
    assert len(claims(staged)) == 2, "its claim and its workspace"
    with staged.claim(0):
        assert "shard-00000.2.json" in claims(staged)
        assert staged.staging(0).positions() == (0, 1)
    assert claims(staged) == []


def test_a_claimed_shard_is_refused_and_names_its_holder(staged: FeatureStore) -> None:
    with staged.claim(0), pytest.raises(ClaimHeldError, match=f"process {os.getpid()} on "), staged.claim(0):
        pass
    assert staged.shard_holder(0) is None
    with staged.claim(0):
        assert str(os.getpid()) in (staged.shard_holder(0) or "")


def test_damaged_staged_videos_are_discarded_by_who_claims_their_shard(staged: FeatureStore) -> None:
    path = staged.path / "staging/shard-00000/00001.h5"
    path.write_bytes(path.read_bytes()[:100])
    with staged.claim(0):
        assert staged.staging(0).positions() == (0,)


def test_runs_share_a_store_and_commands_have_it_alone(staged: FeatureStore) -> None:
    with staged.join() as first:
        for other in (staged.join(), staged.lock()):
            with pytest.raises(StoreBusyError, match=r"in use by process \d+ on .* since 2"), other:
                pass
        with staged.join(share=True) as second, second.planning(), staged.claim(0, run=first.id):
            pass
    with staged.lock():
        for share in (True, False):
            with pytest.raises(StoreBusyError), staged.join(share=share):
                pass
    with staged.claim(0), pytest.raises(StoreBusyError), staged.lock():
        pass
    with staged.lock():
        pass
    assert claims(staged) == []


@pytest.mark.slow
def test_a_run_that_plans_is_waited_for_by_those_who_share(staged: FeatureStore) -> None:
    script = (
        "import sys, time; from reeldex.storage.store import FeatureStore\n"
        "with FeatureStore(sys.argv[1]).join(share=True) as run, run.planning():\n"
        "    print('planning', flush=True); time.sleep(1.5)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(staged.path)], stdout=subprocess.PIPE, text=True)
    with other:
        assert other.stdout
        assert other.stdout.readline() == "planning\n"
        started = time.monotonic()
        with staged.join(share=True) as run, run.planning():
            assert time.monotonic() - started > 0.5


def test_temporaries_of_the_living_survive_a_sweep_and_those_of_the_dead_do_not(staged: FeatureStore) -> None:
    (staged.path / "outcomes/.publishing-of-the-dead").write_text("x")
    (staged.path / "claims").mkdir(exist_ok=True)
    (staged.path / "claims/.publishing-of-the-dead").mkdir()
    with staged.claim(0), publish(staged.path / "outcomes/shard-00000.json") as temporary:
        temporary.write_text("whole")
        with staged.join(share=True) as run, run.planning():
            assert not list(staged.path.rglob("*-of-the-dead"))
    assert (staged.path / "outcomes/shard-00000.json").read_text() == "whole"


def test_a_claim_that_cannot_be_released_lapses_and_is_cleaned_up(
    staged: FeatureStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Workspace) -> None:
        raise OSError(errno.EIO, "the network is away")

    with monkeypatch.context() as away, staged.claim(0, lease_seconds=0.6):
        away.setattr(Workspace, "remove", fails)
    assert "could not be released; it lapses in 0.6 s" in caplog.text
    # Another process waits for it; this one knows that nobody holds it.
    assert staged.shard_holder(0) is None
    with staged.claim(0):
        pass
    assert list((staged.path / "claims").iterdir()) == []


def test_a_run_that_cannot_be_released_says_so_and_lapses(
    staged: FeatureStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: LeaseFolder, name: str) -> None:
        raise OSError(errno.EIO, "the network is away", name)

    with monkeypatch.context() as away, staged.join(lease_seconds=0.6):
        away.setattr(LeaseFolder, "delete", fails)
    assert "The claim run-" in caplog.text
    assert "could not be released; it lapses in 0.6 s" in caplog.text
    with staged.lock():
        assert not [each for each in claims(staged) if each.startswith("run-")]


def test_an_outage_in_which_a_claim_lapses_is_not_taken_for_its_loss(
    staged: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: LeaseFolder, name: str, *__: object) -> bool:
        raise OSError(errno.EIO, "the network is away", name)

    def late() -> None:
        with staged.claim(0, lease_seconds=0.3):
            away.setattr(LeaseFolder, "replace", fails)
            time.sleep(0.4)  # time is tested: longer than the lease

    with monkeypatch.context() as away, pytest.raises(OSError, match="the network is away"):
        late()
    assert claims(staged) == []
    with staged.join(lease_seconds=0.3) as run:
        with monkeypatch.context() as away:
            away.setattr(LeaseFolder, "replace", fails)
            time.sleep(0.4)  # time is tested: longer than the lease
            with pytest.raises(OSError, match="the network is away"):
                run.require_held()
        run.require_held()
        overtake(staged)
        with pytest.raises(RunLostError):
            run.require_held()


def test_the_holder_of_a_claim_is_named_without_credentials(
    staged: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["reeldex", "extract", "https://me:hunter2@host/a.mp4", "s3://b/a?sig=hunter2"])
    with staged.claim(0):
        assert "https://***@host/a.mp4" in (staged.shard_holder(0) or "")
        assert not [path for path in (staged.path / "claims").glob("*.json") if "hunter2" in path.read_text()]


@pytest.mark.slow
def test_a_store_whose_holder_was_lost_with_its_machine_is_free_after_its_lease(staged: FeatureStore) -> None:
    leave(staged, "run-abc", 1.0)
    started = time.monotonic()
    with staged.lock():
        assert 1.0 <= time.monotonic() - started < 30
    assert claims(staged) == []


def test_a_store_whose_holder_lives_on_another_machine_is_busy(staged: FeatureStore) -> None:
    record = leave(staged, "run-abc", 30.0)
    with renewing(staged, record), pytest.raises(StoreBusyError, match="process 7 on node2"), staged.lock():
        pass


@contextmanager
def renewing(store: FeatureStore, record: LeaseRecord) -> Iterator[None]:
    script = (
        "import itertools, sys, time; path = sys.argv[1]; text = open(path).read()\n"
        "for count in itertools.count(1):\n"
        "    new = text.replace('\"renewals\": 0', f'\"renewals\": {count}').ljust(len(text))\n"
        "    file = open(path, 'r+'); file.write(new); file.close(); time.sleep(0.1)"
    )
    path = store.path / "claims/run-abc.1.json"
    assert record.content() == path.read_bytes()
    other = subprocess.Popen([sys.executable, "-c", script, str(path)])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def test_a_run_that_was_taken_for_dead_claims_no_more_shards(staged: FeatureStore) -> None:
    with staged.join() as run:
        overtake(staged)
        with pytest.raises(RunLostError, match=r"took this run .* for dead"), staged.claim(0, run=run.id):
            pass
        with pytest.raises(RunLostError), run.planning():
            pass
        with staged.lock():
            pass
    assert claims(staged) == []


def test_no_claim_is_made_where_a_store_has_vanished(staged: FeatureStore) -> None:
    moved = staged.path.rename(staged.path.with_name("unmounted"))
    for use in (staged.claim(0), staged.lock(), staged.join(), staged.join(share=True)):
        with pytest.raises(StoreVanishedError), use:
            pass
    assert not staged.path.exists()
    moved.rename(staged.path)

    def work() -> None:
        with staged.claim(0), publish(staged.path / "outcomes/shard-00000.json"):
            staged.path.rename(moved)
            staged.path.mkdir()
            remove_file(staged.path / "outcomes/shard-00000.json")

    with pytest.raises(StoreVanishedError):
        work()


@pytest.mark.parametrize("folder", ["features", "outcomes", "staging"])
def test_a_folder_on_another_disk_is_fenced_as_well(
    staged: FeatureStore, make_rows: MakeRows, tmp_path_factory: pytest.TempPathFactory, folder: str
) -> None:
    elsewhere = Path("/dev/shm")  # noqa: S108
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == staged.path.stat().st_dev:
        pytest.skip("needs a second file system, in /dev/shm")
    moved = elsewhere / f"reeldex-test-{os.getpid()}-{tmp_path_factory.getbasetemp().name}-{folder}"
    shutil.move(staged.path / folder, moved)
    try:
        (staged.path / folder).symlink_to(moved)

        def late() -> None:
            with staged.claim(0):
                overtake(staged)
                put(staged, make_rows)

        with pytest.raises(ClaimLostError):
            late()
        with staged.claim(0):
            put(staged, make_rows)
            staged.publish_shard(0, [TWO_D], provenance={}, seconds_of_work=1.0)
        assert staged.ids("net2d.v1") == ["a", "b"]
        assert claims(staged) == []
        assert not list(moved.glob(".*"))
    finally:
        shutil.rmtree(moved)


@pytest.mark.parametrize("link", [False, True])
def test_claims_that_cannot_be_listed_are_named(staged: FeatureStore, tmp_path: Path, *, link: bool) -> None:
    folder = staged.path / "claims"
    shutil.rmtree(folder, ignore_errors=True)
    if link:
        folder.symlink_to(tmp_path / "unmounted")
    else:
        folder.write_text("a file", encoding="utf-8")
    for use in (staged.lock(), staged.join(share=True), staged.claim(0)):
        with pytest.raises(StoreUnreadableError, match="/claims cannot be read"), use:
            pass
