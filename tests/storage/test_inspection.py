"""An inspection is handed on as a value; what has changed on disk since is looked at again, and nothing else."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reeldex.storage import inspection as inspecting
from reeldex.storage import layout
from reeldex.storage.inspection import Inspection
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.store import FeatureStore

Act = Callable[..., None]


@pytest.fixture
def fully(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The shards that are inspected in full, counted in front of the real function."""
    shards: list[int] = []
    real = inspecting.inspect_shard

    def count(root: Path, manifest: ShardManifest, *more: Any) -> Inspection:  # noqa: ANN401 - handed on
        shards.append(manifest.shard)
        return real(root, manifest, *more)

    monkeypatch.setattr(inspecting, "inspect_shard", count)
    return shards


def _handed_on(inspection: Inspection) -> Inspection:
    found: Inspection = pickle.loads(pickle.dumps(inspection))  # noqa: S301 - just pickled
    return found


def _nothing(_: FeatureStore, __: Act) -> None:
    pass


def _stage(_: FeatureStore, fill: Act) -> None:
    fill(0, publish=False)


def _publish(_: FeatureStore, fill: Act) -> None:
    fill(0)


def _lose_outcomes(store: FeatureStore, _: Act) -> None:
    layout.outcomes_file(store.path, 0).unlink()


def _damage_outcomes(store: FeatureStore, _: Act) -> None:
    layout.outcomes_file(store.path, 0).write_text("{}", encoding="utf-8")


def _lose_features(store: FeatureStore, _: Act) -> None:
    shutil.rmtree(store.path / "features" / "net2d.v1")


def _cut_features(store: FeatureStore, _: Act) -> None:
    path = layout.features_file(store.path, "net2d.v1", 0)
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("finished", "change", "looks"),
    [
        (False, _nothing, 0),
        (False, _stage, 0),
        (False, _publish, 1),
        (True, _nothing, 0),
        (True, _lose_outcomes, 1),
        (True, _damage_outcomes, 1),
        (True, _lose_features, 1),
        (True, _cut_features, 1),
    ],
)
def test_it_is_renewed_where_the_disk_has_changed(  # noqa: PLR0917 - fixtures and the rows of the table
    store: FeatureStore,
    grow: Act,
    fill: Act,
    two_d: FeatureSpace,
    fully: list[int],
    finished: bool,  # noqa: FBT001
    change: Callable[[FeatureStore, Act], None],
    looks: int,
) -> None:
    grow("a", "b")
    if finished:
        fill(0)
    known = _handed_on(store.inspect(0, [two_d]))
    change(store, fill)
    fully.clear()
    renewed = FeatureStore(store.path).inspect(0, [two_d], known)
    assert len(fully) == looks
    assert renewed == store.inspect(0, [two_d])


def test_settings_matter_only_to_files_that_are_recorded(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, fully: list[int]
) -> None:
    grow("a")
    unknown = store.inspect(0, [FeatureSpace(two_d.name, {})])
    assert store.inspect(0, [two_d], unknown) == store.inspect(0, [two_d])
    fill(0)
    unknown = store.inspect(0, [FeatureSpace(two_d.name, {})])
    assert unknown.problems
    fully.clear()
    assert store.inspect(0, [two_d], unknown).problems == ()
    assert fully == [0]


def test_another_space_is_inspected(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    grow("a", spaces=[two_d, three_d])
    fill(0)
    known = store.inspect(0, [two_d])
    assert store.inspect(0, [two_d, three_d], known).missing == (three_d.name,)
    assert store.inspect(0, [three_d], known).held == {three_d.name: frozenset()}
