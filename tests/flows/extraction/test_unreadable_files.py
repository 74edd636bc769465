"""Commands on a store of which the system does not let us read a file: an honest end, and nothing is made again."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest

from reeldex.embedding.errors import FeaturesUnreadableError
from reeldex.embedding.features import features_readable
from reeldex.errors import InfrastructureError, UsageError
from reeldex.flows.execution.errors import InternalError, RunStoppedError, as_our_error, is_infrastructure_fault
from reeldex.flows.extraction.plan import unfinished
from reeldex.flows.extraction.report import damage_rows
from reeldex.storage.errors import StoreUnreadableError
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo, Reeldex
from tests.flows.stores import RANDOM
from tests.system_faults import make_readable, make_unreadable

SHARD = "features/wide2d.random/shard-00000.h5"


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_not_made_again(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    store, folder = tmp_path / "store", tmp_path / "videos"
    make_video(folder / "a.mp4", seconds=0.3)
    extract = ("extract", folder, "--store", store, *RANDOM, "--extractors", "wide2d")
    assert reeldex(*extract).status == 0
    files = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}

    make_unreadable(store / SHARD)
    for command in (("rerun", store), extract, ("export", store, tmp_path / "npy")):
        answer = reeldex(*command)
        assert answer.status == 1, "a disk error is a fault of the machine"
        assert f"{SHARD} cannot be read: Input/output error. Check the disk" in answer.err
        assert "do not delete it" in answer.err
        assert "Traceback" not in answer.err
    with pytest.raises(StoreUnreadableError, match="Input/output error"):
        unfinished(FeatureStore(store))

    status = reeldex("status", store, "--json")
    assert status.status == 1
    counts = ("shards_done", "shards_unfinished", "shards_unreadable", "ok")
    assert [status.json[name] for name in counts] == [0, 0, 1, 1]
    assert [each["file"] for each in status.json["unreadable"]] == [SHARD]
    reported = reeldex("status", store).out
    assert "0 done, 0 unfinished, 1 cannot be read" in reported
    assert f"CANNOT BE READ {SHARD}: Input/output error. Check the disk" in reported

    verify = reeldex("verify", store, "--json")
    assert verify.status == 1
    assert [each["file"] for each in verify.json["unreadable"]] == [SHARD]
    assert f"  {SHARD}: cannot be read: Input/output error. Check the disk" in reeldex("verify", store).out
    rows = damage_rows(FeatureStore(store).verify())
    assert {"what": "cannot be read: Input/output error", "file": SHARD}.items() <= rows[-1].items()

    make_readable(store / SHARD)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == files
    assert reeldex("verify", store).status == 0
    assert reeldex("rerun", store, "--json").json["shards_done"] == 0


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EMFILE, InfrastructureError),
        (errno.EIO, InfrastructureError),
        (errno.ESTALE, InfrastructureError),
        (errno.EACCES, UsageError),
        (errno.EISDIR, UsageError),
    ],
)
def test_what_may_pass_by_itself_is_tried_again(number: int, kind: type[Exception]) -> None:
    of_store = StoreUnreadableError(Path("shard"), "why", "Do this.", number)
    with pytest.raises(FeaturesUnreadableError) as of_features, features_readable():
        raise of_store
    for error in (of_store, of_features.value, pickle.loads(pickle.dumps(of_features.value))):  # noqa: S301 - our own
        assert is_infrastructure_fault(error) is (kind is InfrastructureError)
        raised = as_our_error(error)
        assert type(raised) is kind
        assert "shard cannot be read: why. Do this." in str(raised)


@pytest.mark.parametrize("error", [RunStoppedError("stopped"), InfrastructureError("full"), InternalError("a bug")])
def test_a_classified_error_is_not_classified_again(error: Exception) -> None:
    assert as_our_error(error) is error
