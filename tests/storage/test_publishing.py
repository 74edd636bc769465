from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from reeldex.storage.errors import FingerprintError, StagingIncompleteError, StoreDamagedError
from reeldex.storage.outcomes import read_outcomes
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.staging import Staging
from reeldex.storage.store import FeatureStore

MakeRows = Callable[..., FeatureRows]
MakeEntry = Callable[..., VideoEntry]
Act = Callable[..., None]
Datasets = dict[str, dict[str, bytes]]


def datasets(root: Path) -> Datasets:
    """All rows of all feature files of a store, by file and id."""
    found: Datasets = {}
    for path in sorted((root / "features").rglob("*.h5")):
        rows: dict[str, bytes] = {}
        with h5py.File(path) as file:

            def visit(name: str, item: h5py.Dataset | h5py.Group, rows: dict[str, bytes] = rows) -> None:
                if isinstance(item, h5py.Dataset):
                    rows[name] = item[()].tobytes() + repr(sorted(item.attrs.items())).encode()

            file["features"].visititems(visit)
        found[path.relative_to(root).as_posix()] = rows
    return found


def test_a_shard_goes_from_planned_to_done(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace) -> None:
    grow("a", "b", "c")
    state = store.shard_state(0, [two_d])
    assert (state.done, state.missing_spaces, state.staged_positions, state.problems) == (False, (two_d.name,), (), ())
    assert store.pending_positions(0, [two_d]) == (0, 1, 2)
    fill(0, publish=False)
    assert store.pending_positions(0, [two_d]) == ()
    assert store.shard_state(0, [two_d]).staged_positions == (0, 1, 2)
    fill(0)
    state = store.shard_state(0, [two_d])
    assert (state.done, state.missing_spaces, state.staged_positions, state.problems) == (True, (), (), ())
    assert list((store.path / "staging").iterdir()) == []
    outcomes = store.outcomes(0)
    assert outcomes
    assert [video.video_id for video in outcomes.videos] == ["a", "b", "c"]
    assert outcomes.seconds_of_work == 1.5
    assert store.verify().damages == ()


def test_an_incomplete_shard_is_not_published(
    store: FeatureStore, grow: Act, make_rows: MakeRows, two_d: FeatureSpace
) -> None:
    grow("a", "b", "c")
    store.staging(0).put(0, VideoOutcome("a", "/videos/a.mp4", "ok", None, "", 1), {two_d: make_rows()})
    with pytest.raises(StagingIncompleteError, match="2 of 3 videos are still to be extracted, the first being 'b'"):
        store.publish_shard(0, [two_d], provenance={}, seconds_of_work=0)
    assert datasets(store.path) == {}
    assert store.pending_positions(0, [two_d]) == (1, 2)


def test_every_video_ends_in_one_outcome(
    store: FeatureStore, grow: Act, fill: Act, make_entry: MakeEntry, two_d: FeatureSpace
) -> None:
    grow("a", make_entry("a", path="/other/a.mp4"), "b", "c")
    assert store.pending_positions(0, [two_d]) == (0, 2, 3)
    fill(0, failing={"b": "missing"})
    outcomes = store.outcomes(0)
    assert outcomes
    assert [(video.path, video.status, video.reason) for video in outcomes.videos] == [
        ("/videos/a.mp4", "ok", None),
        ("/other/a.mp4", "failed", "duplicate_id"),
        ("/videos/b.mp4", "failed", "missing"),
        ("/videos/c.mp4", "ok", None),
    ]
    message = outcomes.videos[1].message
    assert "/videos/a.mp4" in message
    assert "--video-id path" in message
    assert store.shard_state(0, [two_d]).done
    assert store.pending_positions(0, [two_d]) == ()
    assert store.pending_positions(0, [two_d], retry=["duplicate_id"]) == ()


def test_a_shard_of_failures_alone_is_done(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace) -> None:
    grow("a", "b")
    fill(0, failing={"a": "missing", "b": "timeout"})
    assert store.shard_state(0, [two_d]).done
    assert datasets(store.path) == {"features/net2d.v1/shard-00000.h5": {}}
    assert store.verify().damages == ()


def test_adding_a_space_touches_no_old_file(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    grow("a", "b", "c")
    fill(0, [two_d], failing={"b": "decode_error"})
    old = store.path / "features/net2d.v1/shard-00000.h5"
    before = (old.read_bytes(), old.stat().st_mtime_ns, old.stat().st_ino)
    both = [two_d, three_d]
    assert store.shard_state(0, both).missing_spaces == ("net3d.v1",)
    assert store.pending_positions(0, both) == (0, 2)
    fill(0, [three_d])
    assert store.shard_state(0, both).done
    assert (old.read_bytes(), old.stat().st_mtime_ns, old.stat().st_ino) == before
    assert store.ids("net3d.v1") == store.ids("net2d.v1") == ["a", "c"]
    outcomes = store.outcomes(0)
    assert outcomes
    assert [video.attempts for video in outcomes.videos] == [1, 1, 1]
    assert outcomes.seconds_of_work == 3.0


def test_a_failure_in_an_added_space_keeps_the_old_features(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    grow("a", "b")
    fill(0, [two_d])
    fill(0, [two_d, three_d], failing={"a": "missing"})
    outcome = store.outcome("a")
    assert outcome
    assert (outcome.status, outcome.reason, dict(outcome.rows)) == ("failed", "missing", {"net2d.v1": 6})
    store.read("net2d.v1", "a")
    assert store.ids("net3d.v1") == ["b"]
    assert store.verify().damages == ()
    assert store.pending_positions(0, [two_d], retry=["missing"]) == ()
    fill(0, [two_d, three_d], retry=["missing"])
    assert store.ids("net3d.v1") == ["a", "b"]


def test_a_retry_adds_to_the_file_and_to_the_attempts(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace
) -> None:
    grow("a", "b", "c", "d")
    fill(0, failing={"a": "timeout", "c": "missing"})
    kept = datasets(store.path)["features/net2d.v1/shard-00000.h5"]
    assert store.pending_positions(0, [two_d]) == ()
    assert store.pending_positions(0, [two_d], retry=["timeout"]) == (0,)
    fill(0, failing={"a": "timeout"}, retry=["timeout"])
    fill(0, retry=["timeout"])
    outcomes = store.outcomes(0)
    assert outcomes
    assert [(video.status, video.attempts) for video in outcomes.videos] == [
        ("ok", 3), ("ok", 1), ("failed", 1), ("ok", 1),
    ]  # fmt: skip
    assert outcomes.seconds_of_work == 4.5
    assert store.ids() == ["a", "b", "d"]
    assert set(kept) < set(datasets(store.path)["features/net2d.v1/shard-00000.h5"])
    assert store.verify().damages == ()


def test_a_failed_retry_of_a_truncated_video_keeps_its_features(
    store: FeatureStore, grow: Act, fill: Act, make_rows: MakeRows, two_d: FeatureSpace
) -> None:
    grow("a")
    short = VideoOutcome("a", "/videos/a.mp4", "ok", "truncated", "short", 1, truncated=True)
    store.staging(0).put(0, short, {two_d: make_rows("short", row_count=2)})
    fill(0)
    assert store.pending_positions(0, [two_d]) == ()
    fill(0, failing={"a": "missing"}, retry=["truncated"])
    outcome = store.outcome("a")
    assert outcome
    assert (outcome.status, outcome.reason, outcome.attempts) == ("ok", "truncated", 2)
    assert store.read(two_d.name, "a").shape[0] == 2
    fill(0, retry=["truncated"])
    outcome = store.outcome("a")
    assert outcome
    assert (outcome.reason, outcome.truncated, outcome.attempts) == (None, False, 3)
    assert store.read(two_d.name, "a").shape[0] == 6


def test_staged_videos_of_one_space_do_not_settle_two(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    grow("a", "b")
    fill(0, [two_d], failing={"b": "missing"}, publish=False)
    assert store.pending_positions(0, [two_d, three_d]) == (0,)


@pytest.mark.parametrize(
    "damage", ["delete", "truncate", "foreign", "other space", "other settings", "fewer", "longer"]
)
def test_a_damaged_feature_file_is_seen_and_made_again(
    *, store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace, damage: str
) -> None:
    grow("a", "b", "c", spaces=(two_d, three_d))
    fill(0, [two_d, three_d], failing={"b": "missing"})
    before = datasets(store.path)
    path = store.path / "features/net2d.v1/shard-00000.h5"
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "foreign":
        path.write_bytes(b"hello")
    elif damage == "longer":
        path.write_bytes(path.read_bytes() + b"tail")
    elif damage == "other space":
        shutil.copyfile(store.path / "features/net3d.v1/shard-00000.h5", path)
    else:
        with h5py.File(path, "r+") as file:
            if damage == "fewer":
                del file["features/a"]
            else:
                file.attrs["fingerprint"] = "{}"
    state = store.shard_state(0, [two_d, three_d])
    assert (state.done, state.missing_spaces, len(state.problems)) == (False, ("net2d.v1",), 1)
    assert "shard-00000.h5" in state.problems[0]
    assert "reeldex rerun" in state.problems[0]
    # What is still intact in the file is kept.
    expected = {"fewer": (0,), "longer": ()}.get(damage, (0, 2))
    assert store.pending_positions(0, [two_d, three_d]) == expected
    if damage == "other settings":
        with pytest.raises(FingerprintError):
            fill(0, [two_d, three_d])
        path.unlink()
    fill(0, [two_d, three_d])
    assert datasets(store.path) == before
    assert store.shard_state(0, [two_d, three_d]).done
    assert store.verify().damages == ()


def test_damaged_outcomes_are_a_problem_and_the_shard_is_made_again(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace
) -> None:
    grow("a", "b")
    fill(0)
    before = datasets(store.path)
    path = store.path / "outcomes/shard-00000.json"
    path.write_text(path.read_text().replace('"attempts": 1', '"attempts": 2', 1))
    state = store.shard_state(0, [two_d])
    assert not state.done
    assert "checksum" in state.problems[0]
    with pytest.raises(StoreDamagedError, match="checksum"):
        store.read(two_d.name, "a")
    assert store.pending_positions(0, [two_d]) == (0, 1)
    fill(0)
    assert datasets(store.path) == before
    assert store.shard_state(0, [two_d]).done


def test_rows_damaged_in_place_stop_a_retry(
    store: FeatureStore, grow: Act, fill: Act, make_rows: MakeRows, two_d: FeatureSpace
) -> None:
    grow("a", "b")
    fill(0, failing={"b": "timeout"})
    path = store.path / "features/net2d.v1/shard-00000.h5"
    content = bytearray(path.read_bytes())
    content[content.index(make_rows("a net2d.v1").rows.tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="/features/a"):
        fill(0, retry=["timeout"])
    path.unlink()
    fill(0, retry=["timeout"])
    assert store.verify().damages == ()


def test_staged_videos_of_other_settings_are_refused(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace
) -> None:
    grow("a")
    fill(0, publish=False)
    with pytest.raises(FingerprintError, match="weights"):
        store.publish_shard(0, [FeatureSpace(two_d.name, {})], provenance={}, seconds_of_work=0)


def test_a_staged_video_of_another_id_does_not_count_and_is_removed(
    store: FeatureStore, grow: Act, fill: Act, make_rows: MakeRows, two_d: FeatureSpace
) -> None:
    grow("a")
    store.staging(0).put(0, VideoOutcome("b", "/b", "ok", None, "", 1), {two_d: make_rows()})
    (problem,) = store.shard_state(0, [two_d]).problems
    assert "has 'b' at a position where the manifest has no such video" in problem
    assert store.pending_positions(0, [two_d]) == (0,)
    with store.lock():
        assert store.staging(0).positions() == ()
        fill(0)
    assert store.ids() == ["a"]


def test_damaged_staged_videos_are_extracted_again(
    store: FeatureStore, grow: Act, fill: Act, make_rows: MakeRows, two_d: FeatureSpace
) -> None:
    grow("a", "b", "c")
    fill(0, publish=False)
    folder = store.path / "staging/shard-00000"
    (folder / "00000.h5").write_bytes(b"no HDF5")
    content = bytearray((folder / "00001.h5").read_bytes())
    content[content.index(make_rows("b net2d.v1").rows.tobytes())] ^= 1
    (folder / "00001.h5").write_bytes(content)
    assert "00000.h5 is not an intact staged video" in store.shard_state(0, [two_d]).problems[0]
    store.require_fingerprint(two_d)
    with store.lock():
        assert store.staging(0).positions() == (2,)
        assert store.pending_positions(0, [two_d]) == (0, 1)
        fill(0)
    assert store.verify().sound
    assert store.ids() == ["a", "b", "c"]


# Every step that reaches the disk: a kill just before it must cost nothing.
STEPS = [(os, "fsync"), (Path, "replace"), (Path, "rename"), (Path, "unlink"), (shutil, "rmtree"), (h5py, "File")]


def killed_at(step: int, act: Callable[[], None]) -> bool:
    """Run `act` in a child that SIGKILLs itself at its `step`-th step; returns whether it came that far."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def lethal(function: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **options: Any) -> Any:  # noqa: ANN401
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return function(*args, **options)

            return run

        for owner, name in STEPS:
            setattr(owner, name, lethal(getattr(owner, name)))
        try:
            act()
        except BaseException:  # noqa: BLE001 - the child must never return into pytest
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in {0, -signal.SIGKILL}
    return status != 0


def clean(root: Path) -> Any:  # noqa: ANN401
    """All that a store says of its first shard, without times of writing."""
    outcomes = read_outcomes(root, 0)
    assert outcomes
    files = {space: record.name for space, record in outcomes.files.items()}
    return datasets(root), outcomes.videos, outcomes.seconds_of_work, outcomes.provenance, files


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["first", "retry", "added space"])
def test_publishing_may_be_killed_at_any_step(
    *, tmp_path: Path, store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace, scene: str
) -> None:
    spaces = [two_d, three_d]
    grow("a", "n/b", "c", "d", spaces=spaces)
    if scene == "first":
        fill(0, spaces, failing={"c": "timeout"}, publish=False)
    elif scene == "retry":
        fill(0, spaces, failing={"c": "timeout", "d": "timeout"})
        fill(0, spaces, failing={"d": "missing"}, retry=["timeout"], publish=False)
    else:
        fill(0, [two_d], failing={"c": "timeout"})
        fill(0, spaces, publish=False)
    start = store.path

    def publish(root: Path) -> None:
        FeatureStore(root).publish_shard(0, spaces, provenance={"host": "test"}, seconds_of_work=1.5)

    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(start, undisturbed)
    publish(undisturbed)
    expected = clean(undisturbed)
    step = 0
    while True:
        root = tmp_path / f"killed-{step}"
        shutil.copytree(start, root)
        if not killed_at(step, lambda root=root: publish(root)):  # type: ignore[misc]
            break
        reopened = FeatureStore(root)
        assert reopened.pending_positions(0, spaces) == ()
        with reopened.lock():
            publish(root)
        assert clean(root) == expected
        assert reopened.shard_state(0, spaces).done
        assert reopened.verify().damages == ()
        assert list((root / "staging").iterdir()) == []
        shutil.rmtree(root)
        step += 1
    assert step > 12


def test_what_a_kill_before_the_clearing_left_is_swept(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, tmp_path: Path
) -> None:
    grow("a", "b")
    fill(0, failing={"b": "timeout"}, publish=False)
    shutil.copytree(store.path / "staging", tmp_path / "saved")
    fill(0)
    shutil.copytree(tmp_path / "saved", store.path / "staging", dirs_exist_ok=True)
    assert Staging(store.path, 0).positions() == (0, 1)
    assert store.shard_state(0, [two_d]).staged_positions == ()
    assert store.pending_positions(0, [two_d], retry=["timeout"]) == (1,)
    with store.lock():
        assert Staging(store.path, 0).positions() == ()
