"""What the system does not allow reading is not damaged, and not extracted again."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest

from reeldex.storage.errors import StoreDamagedError, StoreUnreadableError
from reeldex.storage.hdf5 import open_to_read
from reeldex.storage.npy_export import export_npy
from reeldex.storage.npy_import import import_npy
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.shard import ShardReader
from reeldex.storage.store import FeatureStore
from tests.system_faults import make_readable, make_unreadable, no_more_files

Act = Callable[..., None]

SHARD = "features/net2d.v1/shard-00000.h5"
MAY_NOT_BE_DELETED = "do not delete it"


@pytest.fixture
def filled(store: FeatureStore, grow: Act, fill: Act) -> FeatureStore:
    grow("a", "b", "c", "d", videos_per_shard=2)
    fill(0)
    fill(1, publish=False)
    return store


def child(code: str, store: FeatureStore, **environment: str) -> str:
    """Run Python code in a process of its own, which finds the store in sys.argv[1]; return what it prints."""
    ours: Mapping[str, str] = {name: text for name, text in os.environ.items() if name != "HDF5_USE_FILE_LOCKING"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.path)],
        capture_output=True,
        text=True,
        env={**ours, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_OPENING = """
import sys, h5py
from reeldex.storage.store import FeatureStore
store = FeatureStore(sys.argv[1])
path = f"{sys.argv[1]}/features/net2d.v1/shard-00000.h5"
"""
# A line each of which begins with no file open.
_ORDERS = """
a = store.read('net2d.v1', 'a'); plain = h5py.File(path, MODE); b = plain['features/a'][:]
plain = h5py.File(path, MODE); a = store.read('net2d.v1', 'a'); b = plain['features/a'][:]
a = store.read('net2d.v1', 'a'); store.close(); plain = h5py.File(path, MODE); b = plain['features/a'][:]
plain = h5py.File(path, MODE); b = plain['features/a'][:]; plain.close(); a = store.read('net2d.v1', 'a')
_, a = store.map_rows('net2d.v1', 'a'); plain = h5py.File(path, MODE); b = plain['features/a'][:]
"""


def _both_read(mode: str) -> str:
    """Return code that reads with the store and with plain h5py, in each order."""
    ending = "; plain.close(); store.close(); print((a == b).all(), a.shape)"
    return _OPENING + "\n".join(f"{line.replace('MODE', mode)}{ending}" for line in _ORDERS.strip().splitlines())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "locking"),
    [
        ("'r'", None),
        ("'r', locking=True", None),
        ("'r', locking=False", None),
        ("'r', locking='best-effort'", None),
        ("'r+'", None),
        ("'r'", "TRUE"),
        ("'r'", "FALSE"),
        ("'r'", "BEST_EFFORT"),
    ],
)
def test_the_store_and_plain_h5py_read_a_file_in_one_process(
    filled: FeatureStore, mode: str, locking: str | None
) -> None:
    environment = {"HDF5_USE_FILE_LOCKING": locking} if locking else {}
    assert child(_both_read(mode), filled, **environment).splitlines() == ["True (6, 8)"] * 5


def test_a_shard_is_published_while_plain_h5py_has_its_file_open(
    filled: FeatureStore, fill: Act, two_d: FeatureSpace
) -> None:
    filled.read("net2d.v1", "a")
    with h5py.File(filled.path / SHARD) as plain:
        before = plain["features/a"][:]
        (filled.path / "outcomes/shard-00000.json").unlink()
        fill(0)
        assert np.array_equal(plain["features/a"][:], before)
        assert np.array_equal(filled.read("net2d.v1", "a"), before)
    assert filled.shard_state(0, (two_d,)).done


_HOLDING = """
import h5py, sys
with h5py.File(sys.argv[1] + "/features/net2d.v1/shard-00000.h5", "r+", locking=True) as file:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_the_lock_of_another_process_hinders_only_those_who_ask_for_locks(filled: FeatureStore) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDING, str(filled.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        reading = f"{_OPENING}print(store.read('net2d.v1', 'a').shape)"
        assert child(reading, filled) == "(6, 8)"
        told = child(
            f"{_OPENING}\ntry:\n store.read('net2d.v1', 'a')\nexcept Exception as e: print(type(e).__name__, e)",
            filled,
            HDF5_USE_FILE_LOCKING="TRUE",
        )
        assert holder.stdin
        holder.stdin.close()
    assert told.startswith("StoreUnreadableError")
    assert "Resource temporarily unavailable. Close the HDF5 handle" in told


def test_too_many_open_files_are_no_damage(filled: FeatureStore, two_d: FeatureSpace) -> None:
    filled.manifests()
    attempts: list[Callable[[], object]] = [
        lambda: filled.read("net2d.v1", "a"),
        lambda: filled.fingerprint("net2d.v1"),
        lambda: filled.shard_state(0, (two_d,)),
        lambda: filled.pending_positions(0, (two_d,)),
        lambda: filled.pending_positions(1, (two_d,)),
        lambda: filled.staging(1).outcome(0),
        lambda: filled.staging(1).positions(),
        lambda: filled.require_fingerprint(two_d),
        lambda: FeatureStore(filled.path).manifests(),
        lambda: FeatureStore(filled.path).outcomes(0),
    ]
    for attempt in attempts:
        with no_more_files(), pytest.raises(StoreUnreadableError, match=r"Too many open files.*`ulimit -n`") as raised:
            attempt()
        assert MAY_NOT_BE_DELETED in str(raised.value)
    assert filled.shard_state(0, (two_d,)).done
    assert filled.shard_state(1, (two_d,)).staged_positions == (0, 1)


_PERMISSION = """
import os, sys
import h5py, numpy
import reeldex.storage.verify
from reeldex.storage.errors import StoreUnreadableError
from reeldex.storage.json_codec import to_json
from reeldex.storage.schema import FeatureSpace, VideoEntry
from reeldex.storage.store import FeatureStore
# Modules that pydantic loads at first use may be closed to the other user.
to_json(VideoEntry("a", "/a", None, None))
os.chdir(sys.argv[1])
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
store = FeatureStore(".")
for what in (
    lambda: store.read("net2d.v1", "a"),
    lambda: store.shard_state(0, (FeatureSpace("net2d.v1", {"weights": "aa", "fps": 1}),)),
):
    try:
        what()
    except StoreUnreadableError as error:
        print(error)
report = store.verify()
print(report.damages, [each.file for each in report.unreadable])
print([each.file for each in store.status().unreadable], store.status().shards_unreadable)
"""


def test_a_missing_permission_is_no_damage(filled: FeatureStore, tmp_path: Path) -> None:
    for path in (filled.path, *filled.path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (filled.path / SHARD).chmod(0)
    reading, planning, verified, status = child(_PERMISSION, filled).splitlines()
    for told in (reading, planning):
        assert f"{SHARD} cannot be read: Permission denied. Grant this user permission" in told
        assert MAY_NOT_BE_DELETED in told
    assert verified == f"() ['{SHARD}']"
    assert status == f"['{SHARD}'] 1"


def test_a_broken_disk_is_no_damage(filled: FeatureStore, two_d: FeatureSpace) -> None:
    names = (SHARD, "outcomes/shard-00000.json", "manifest/shard-00000.json", "staging/shard-00001/00000.h5")
    for name in names:
        make_unreadable(filled.path / name)
        store = FeatureStore(filled.path)
        with pytest.raises(StoreUnreadableError, match=r"Input/output error. Check the disk") as raised:
            [store.shard_state(shard, (two_d,)) for shard in (0, 1)]
        assert (raised.value.path, MAY_NOT_BE_DELETED in str(raised.value)) == (filled.path / name, True)
        report = store.verify()
        assert [(each.file, each.why) for each in report.unreadable] == [(name, "Input/output error")]
        assert not [damage for damage in report.damages if ".kept" not in damage.file]
        if name == SHARD:
            assert (store.status().shards_unreadable, store.status().shards_unfinished) == (1, 1)
        make_readable(filled.path / name)
    assert filled.verify().sound


def test_a_link_to_a_disk_that_is_not_mounted_is_no_missing_file(
    filled: FeatureStore, tmp_path: Path, two_d: FeatureSpace
) -> None:
    folder = filled.path / "features/net2d.v1"
    folder.rename(tmp_path / "disk")
    folder.symlink_to(tmp_path / "disk")
    assert filled.shard_state(0, (two_d,)).done
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    with pytest.raises(StoreUnreadableError, match="has no target: mount its disk"):
        filled.shard_state(0, (two_d,))
    with pytest.raises(StoreUnreadableError, match="has no target"):
        filled.read("net2d.v1", "a")
    status, report = filled.status(), filled.verify()
    assert (status.shards_done, status.shards_unfinished, status.shards_unreadable) == (0, 1, 1)
    assert [each.file for each in status.unreadable] == [SHARD]
    assert SHARD in {each.file for each in report.unreadable}
    assert not report.damages
    assert not report.sound
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    assert filled.verify().sound


def test_a_folder_in_place_of_a_shard_is_said_to_be_one(filled: FeatureStore, two_d: FeatureSpace) -> None:
    path = filled.path / SHARD
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreUnreadableError, match=r"Is a directory. Move away"):
        filled.shard_state(0, (two_d,))
    assert [(each.file, each.why) for each in filled.verify().unreadable] == [(SHARD, "Is a directory")]


def test_a_file_that_is_gone_is_still_made_again(filled: FeatureStore, two_d: FeatureSpace) -> None:
    (filled.path / SHARD).unlink()
    state = filled.shard_state(0, (two_d,))
    assert (state.done, state.missing_spaces) == (False, ("net2d.v1",))
    assert filled.status().unreadable == ()


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(40)])
def test_what_is_damaged_is_still_called_so(filled: FeatureStore, two_d: FeatureSpace, content: bytes) -> None:
    (filled.path / SHARD).write_bytes(content)
    with pytest.raises(StoreDamagedError, match="is not an intact shard file"):
        filled.read("net2d.v1", "a")
    assert not filled.shard_state(0, (two_d,)).done


def test_an_error_of_the_system_in_an_open_file_is_no_damage(filled: FeatureStore, tmp_path: Path) -> None:
    path = filled.path / SHARD
    attempts: list[Callable[[ShardReader], object]] = [
        lambda reader: reader.read("b"),
        lambda reader: reader.read_rows("b", 0, 2),
        lambda reader: reader.check(),
    ]
    for attempt in attempts:
        reader = ShardReader(path)
        reader.timing("b")
        (descriptor,) = [int(each.name) for each in Path("/proc/self/fd").iterdir() if _leads_to(each, path)]
        kept, folder = os.dup(descriptor), os.open(tmp_path, os.O_RDONLY)
        # From now on each reading of the file fails, here because it reads a folder.
        os.dup2(folder, descriptor)
        with pytest.raises(StoreUnreadableError, match="Is a directory"):
            attempt(reader)
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(folder)
        assert reader.check() == []
        reader.close()


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path
    except FileNotFoundError:
        return False


def test_a_closed_reader_says_so(filled: FeatureStore) -> None:
    reader = ShardReader(filled.path / SHARD)
    reader.close()
    reader.close()
    for attempt in (lambda: reader.read("a"), reader.ids, lambda: reader.map_rows("a"), reader.check):
        with pytest.raises(ValueError, match=f"reader of {re.escape(str(reader.path))} was closed"):
            attempt()


def test_a_store_can_be_closed_twice_and_goes_on_reading(filled: FeatureStore) -> None:
    filled.read("net2d.v1", "a")
    filled.close()
    filled.close()
    assert filled.read("net2d.v1", "a").shape == (6, 8)


def test_npy_files_that_cannot_be_read_are_not_refused_for_their_content(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "npy")
    make_unreadable(tmp_path / "npy/net2d.v1/a.npy")
    target = FeatureStore(tmp_path / "other", create=True)
    with pytest.raises(StoreUnreadableError, match="Input/output error"):
        import_npy(tmp_path / "npy", target, seconds_per_row={"net2d.v1": 1.0})
    with no_more_files(), pytest.raises(StoreUnreadableError, match="Too many open files"):
        import_npy(tmp_path / "npy", target, seconds_per_row={"net2d.v1": 1.0})
    with pytest.raises(StoreUnreadableError, match="Input/output error"):
        export_npy(filled, tmp_path / "npy")


def test_the_error_survives_pickling() -> None:
    error = StoreUnreadableError(Path("x"), "why", "Do.", 13)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (str(again), again.path, again.errno) == (str(error), error.path, 13)


def test_a_shard_deleted_while_it_is_opened_is_absent_and_no_lost_link(
    filled: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled.path / "features/net2d.v1/shard-00000.h5"

    def open_too_late(path: Path) -> h5py.File:
        # The other process that deletes the file between the look and the opening.
        path.unlink()
        return open_to_read(path)

    monkeypatch.setattr("reeldex.storage.shard.open_to_read", open_too_late)
    with pytest.raises(FileNotFoundError, match=r"deleted while it was being opened; `reeldex rerun`"):
        ShardReader(path)
