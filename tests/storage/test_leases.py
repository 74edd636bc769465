"""Leases: one holder, whatever happens between two steps; abandoned ones are taken over; clocks are never compared."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from reeldex.storage.errors import ClaimHeldError
from reeldex.storage.lease_medium import LeaseFolder
from reeldex.storage.lease_owner import LeaseOwner
from reeldex.storage.lease_record import FoundLease, LeaseRecord
from reeldex.storage.leases import Lease, Leases
from reeldex.storage.process_id import process_of
from tests.waiting import wait_until

ME = LeaseOwner.this_process("the test")
ELSEWHERE = LeaseOwner("node2", "another boot", "7@7", "reeldex extract", "1999-01-01T00:00:00+00:00")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "claims"


@pytest.fixture
def leases(folder: Path) -> Leases:
    return Leases(LeaseFolder(folder))


def record(owner: LeaseOwner, lease_seconds: float = 0.4, renewals: int = 0) -> LeaseRecord:
    return LeaseRecord("shard", "token", lease_seconds, renewals, owner)


def leave(folder: Path, owner: LeaseOwner, lease_seconds: float = 0.4, *, counter: int = 3) -> Path:
    """Create the lease of a process that renews nothing."""
    content = record(owner, lease_seconds).content()
    assert LeaseFolder(folder).create(f"shard-00007.{counter}.json", content)
    return folder / f"shard-00007.{counter}.json"


def acquire(leases: Leases, fenced: list[str] | None = None) -> Lease:
    def fence(found: FoundLease) -> None:
        if fenced is not None:
            fenced.append(found.name)

    return leases.acquire("shard-00007", "shard", ME, fence=fence)


def ended_process() -> str:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = process_of(process.pid)
    process.communicate()
    return found


def test_a_lease_has_one_holder_who_is_named_and_leaves_nothing(leases: Leases, folder: Path) -> None:
    lease = acquire(leases)
    assert [path.name for path in folder.iterdir()] == ["shard-00007.1.json"]
    with pytest.raises(ClaimHeldError, match=rf"claimed by process {os.getpid()} on .* since 2.*\(the test\)"):
        acquire(Leases(LeaseFolder(folder)))
    assert leases.acquire("shard-00008", "shard", ME).is_held()
    lease.release()
    lease.release()
    assert [path.name for path in folder.iterdir()] == ["shard-00008.1.json"]
    assert not lease.is_held()


def test_the_lease_of_an_ended_process_of_this_machine_is_taken_over_at_once(leases: Leases, folder: Path) -> None:
    leave(folder, replace(ME, process=ended_process()), lease_seconds=86_400)
    fenced: list[str] = []
    lease = acquire(leases, fenced)
    assert fenced == ["shard-00007.3.json"]
    assert [path.name for path in folder.iterdir()] == ["shard-00007.4.json"]
    assert lease.is_held()


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"])
def test_the_lease_of_another_machine_is_abandoned_after_its_time_of_silence(
    leases: Leases, folder: Path, since: str
) -> None:
    leave(folder, replace(ELSEWHERE, since=since))
    started = time.monotonic()
    with pytest.raises(ClaimHeldError, match="process 7 on node2"):
        acquire(leases)
    time.sleep(0.2)  # time is tested: less than the lease
    with pytest.raises(ClaimHeldError):
        acquire(leases)
    assert wait_until(lambda: not leases.live("shard-"), 20)
    assert time.monotonic() - started >= 0.4
    with pytest.raises(ClaimHeldError):
        acquire(Leases(LeaseFolder(folder)))  # an observer that has just begun to look
    assert acquire(leases).counter == 4


@pytest.mark.slow
def test_a_renewed_lease_is_kept(leases: Leases, folder: Path) -> None:
    path = leave(folder, ELSEWHERE)
    for renewals in range(1, 8):
        assert leases.live("shard-")
        assert LeaseFolder(folder).replace(path.name, record(ELSEWHERE, renewals=renewals).content())
        time.sleep(0.1)  # time is tested: between renewals
    (found,) = leases.live("shard-")
    assert leases.is_seen_alive(found)
    holder = leases.acquire("shard-00001", "shard", ME, lease_seconds=0.3)
    observer = Leases(LeaseFolder(folder))
    for _ in range(8):
        assert observer.live("shard-00001.")
        time.sleep(0.1)  # time is tested: between renewals
    holder.release()


def test_a_machine_with_the_same_name_is_another_machine(leases: Leases, folder: Path) -> None:
    # As two containers, or one host before and after a reboot: the process may not be looked for here.
    leave(folder, replace(ELSEWHERE, host=ME.host, process=ended_process()))
    assert leases.live("shard-")


def test_the_file_of_a_lease_that_cannot_be_read_counts_like_a_silent_one(
    leases: Leases, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A power cut leaves empty files.
    monkeypatch.setattr("reeldex.storage.lease_record.LEASE_SECONDS", 0.3)
    folder.mkdir()
    (folder / "shard-00007.2.json").write_bytes(b"")
    with pytest.raises(ClaimHeldError, match="whose claim cannot be read"):
        acquire(leases)
    wait_until(lambda: not leases.live("shard-"), 20)
    assert acquire(leases).counter == 3


@pytest.mark.parametrize("abandoned", [False, True])
def test_of_many_who_want_it_one_gets_it(folder: Path, *, abandoned: bool) -> None:
    for _ in range(20):
        if abandoned:
            leave(folder, replace(ME, process="1@gone"))
        start = threading.Barrier(16)

        def attempt(start: threading.Barrier = start) -> Lease | None:
            start.wait()
            try:
                return acquire(Leases(LeaseFolder(folder)))
            except ClaimHeldError:
                return None

        with ThreadPoolExecutor(16) as pool:
            got = [lease for lease in pool.map(lambda _: attempt(), range(16)) if lease is not None]
        assert len(got) == 1
        assert [path.name for path in folder.iterdir()] == [got[0].name]
        got[0].release()


class Interrupted(LeaseFolder):
    """A folder of leases where others act just before this process creates a file."""

    def __init__(self, folder: Path, others: Callable[[], None]) -> None:
        super().__init__(folder)
        self._others = others

    def create(self, name: str, content: bytes) -> bool:
        self._others()
        return super().create(name, content)


@pytest.mark.parametrize("counter", [1, 4])
def test_who_was_paused_before_creating_a_lease_finds_that_another_holds_it(folder: Path, counter: int) -> None:
    """Another process has taken over the abandoned lease, released it, and a third one holds a new one."""
    abandoned = leave(folder, replace(ME, process="1@gone"))

    def others() -> None:
        abandoned.unlink()
        leave(folder, ELSEWHERE, counter=counter)

    with pytest.raises(ClaimHeldError, match="node2"):
        acquire(Leases(Interrupted(folder, others)))
    assert [path.name for path in folder.iterdir()] == [f"shard-00007.{counter}.json"]


def test_a_holder_that_was_overtaken_leaves_a_later_lease_of_the_same_name_alone(leases: Leases, folder: Path) -> None:
    late = leases.acquire("shard-00007", "shard", ME, lease_seconds=0.3)
    (folder / late.name).unlink()
    later = record(ELSEWHERE).content()
    assert LeaseFolder(folder).create(late.name, later)
    time.sleep(0.3)  # time is tested: several renewals
    assert not late.is_held()
    late.release()
    assert (folder / late.name).read_bytes() == later


def test_a_holder_that_was_overtaken_knows_it_and_brings_nothing_back(leases: Leases, folder: Path) -> None:
    late = leases.acquire("shard-00007", "shard", ME, lease_seconds=0.3)
    (folder / late.name).unlink()
    assert not late.is_held()
    time.sleep(0.3)  # time is tested: several renewals
    late.release()
    assert list(folder.iterdir()) == []


class Stuck(LeaseFolder):
    """A folder of leases where methods fail while they are in `stuck`; those in `unanswered` do their work first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stuck: set[str] = set()
        self.unanswered: set[str] = set()
        self.written: list[bytes] = []

    def _fail_if(self, method: str, methods: set[str]) -> None:
        if method in methods:
            raise OSError(errno.EIO, "Input/output error")

    def create(self, name: str, content: bytes) -> bool:
        self._fail_if("create", self.stuck)
        created = super().create(name, content)
        self._fail_if("create", self.unanswered)
        return created

    def replace(self, name: str, content: bytes, deadline: float | None = None) -> bool:
        self._fail_if("replace", self.stuck)
        replaced = super().replace(name, content, deadline)
        self.written.append(content)
        self._fail_if("replace", self.unanswered)
        return replaced

    def delete(self, name: str) -> None:
        self._fail_if("delete", self.stuck)
        super().delete(name)


def is_unknown(lease: Lease) -> bool:
    try:
        lease.is_held()
    except OSError:
        return True
    return False


def test_a_holder_that_cannot_renew_in_time_does_not_know_whether_others_have_taken_its_lease(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    medium = Stuck(folder)
    lease = Leases(medium).acquire("shard-00007", "shard", ME, lease_seconds=0.6)
    medium.stuck.add("replace")
    assert lease.is_held(), "it has just been renewed"
    assert wait_until(lambda: is_unknown(lease), 20)
    with pytest.raises(OSError, match="Input/output error"):
        lease.is_held()
    assert wait_until(lambda: "was not renewed for 0.6 s: others may take it over" in caplog.text, 20)
    medium.stuck.clear()
    # Nobody has taken it.
    assert lease.is_held()
    (folder / lease.name).unlink()
    assert not lease.is_held()
    lease.release()


def test_a_lease_whose_creation_took_long_is_renewed_before_it_counts(folder: Path) -> None:
    medium = Stuck(folder)
    medium.stuck.add("replace")
    lease = leases_slowly_created(medium, 0.4)
    # Others have seen it for as long as it was promised.
    with pytest.raises(OSError, match="Input/output error"):
        lease.is_held()
    medium.stuck.clear()
    assert lease.is_held()
    lease.release()


def leases_slowly_created(medium: Stuck, seconds: float) -> Lease:
    """Return a lease of so many seconds whose holder took longer to prepare what it works in."""

    def prepare(_: object) -> None:
        time.sleep(seconds + 0.1)  # time is tested: longer than the lease

    return Leases(medium).acquire("shard-00007", "shard", ME, lease_seconds=seconds, opened=prepare)


def test_a_renewal_whose_answer_was_lost_is_a_sign_of_life_each_time(folder: Path) -> None:
    medium = Stuck(folder)
    medium.unanswered.add("replace")
    lease = Leases(medium).acquire("shard-00007", "shard", ME, lease_seconds=0.6)
    assert wait_until(lambda: len(medium.written) >= 4, 20)
    lease.lapse()
    assert len(set(medium.written)) == len(medium.written)


@pytest.mark.parametrize(("unanswered", "stuck"), [("create", ""), ("create", "delete"), ("", "delete")])
def test_a_lease_that_could_not_be_made_or_given_back_does_not_stop_its_own_process(
    folder: Path, unanswered: str, stuck: str
) -> None:
    """Nobody renews it, though its process lives. Others wait for its time to pass."""
    medium = Stuck(folder)
    medium.unanswered, medium.stuck = {unanswered}, {stuck}
    leases = Leases(medium)
    if unanswered:
        with pytest.raises(OSError, match="Input/output error"):
            acquire(leases)
    else:
        lease = acquire(leases)
        with pytest.raises(OSError, match="Input/output error"):
            lease.release()
        lease.lapse()
    left = [path.name for path in folder.iterdir()]
    assert left == (["shard-00007.1.json"] if stuck else [])
    medium.unanswered, medium.stuck = set(), set()
    assert leases.live("shard-") == []
    assert len(Leases(medium).live("shard-")) == len(left)
    fenced: list[str] = []
    again = acquire(leases, fenced)
    assert fenced == left
    assert again.is_held()
    again.release()
    assert list(folder.iterdir()) == []


def test_a_lease_of_another_holder_is_left_alone_by_who_failed_to_create_it(folder: Path) -> None:
    theirs = record(ELSEWHERE).content()

    def others() -> None:
        assert LeaseFolder(folder).create("shard-00007.1.json", theirs)
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        acquire(Leases(Interrupted(folder, others)))
    assert (folder / "shard-00007.1.json").read_bytes() == theirs


def test_a_lease_that_was_given_up_is_not_seen_alive(folder: Path) -> None:
    medium = Stuck(folder)
    leases = Leases(medium)
    lease = acquire(leases)
    (found,) = leases.live("shard-")
    assert leases.is_seen_alive(found)
    lease.lapse()
    assert not leases.is_seen_alive(found)
    assert leases.live("shard-") == []


def test_creation_is_exclusive_without_hard_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    medium = LeaseFolder(folder)
    assert medium.create("a.1.json", b"mine")
    assert not medium.create("a.1.json", b"other")
    assert medium.read("a.1.json") == b"mine"
    assert medium.list() == ["a.1.json"]


def test_a_link_whose_answer_was_lost_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_and_fail(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr(os, "link", link_and_fail)
    assert LeaseFolder(folder).create("a.1.json", b"mine")


def test_a_temporary_that_was_swept_is_written_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link
    swept: list[Path] = []

    def sweep_and_link(source: Path, target: Path) -> None:
        if not swept:
            swept.append(source)
            Path(source).unlink()
        link(source, target)

    monkeypatch.setattr(os, "link", sweep_and_link)
    assert LeaseFolder(folder).create("a.1.json", b"mine")
    assert len(swept) == 1


def test_foreign_files_in_the_folder_are_left_alone(leases: Leases, folder: Path) -> None:
    folder.mkdir()
    for name in ("README", "shard-00007.json", "shard-00007.0.json", "shard-00007.x.json", ".nfs0001"):
        (folder / name).write_text("x")
    (folder / "shard-00007.9.json.d").mkdir()
    assert leases.live("") == []
    assert acquire(leases).counter == 1


def test_a_process_that_proc_hides_is_not_taken_for_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    # As /proc mounted with hidepid does with processes of other users, which may not be signalled either.
    owner = replace(ME, process="4194000@5")
    assert owner.has_ended

    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not owner.has_ended
    assert replace(ME, process="1@5").has_ended, "one that is shown, with another start, is another process"


@pytest.mark.parametrize("process", ["", "x@1", "99999999999999999999@1", "@"])
def test_an_owner_of_any_text_is_compared(process: str) -> None:
    assert replace(ME, process=process).has_ended
