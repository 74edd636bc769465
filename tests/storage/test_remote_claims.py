"""Claims on a store in an object store: leases by conditional writes, and former holders that change nothing."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from reeldex.remote_faults import RemoteError
from reeldex.storage import layout
from reeldex.storage.claims import alone, claim_shard, fence_of, leases_of, live_tokens
from reeldex.storage.errors import ClaimHeldError, ClaimLostError, StoreBusyError, StoreError
from reeldex.storage.lease_objects import LeaseObjects
from reeldex.storage.lease_owner import LeaseOwner
from reeldex.storage.lease_record import FoundLease
from reeldex.storage.leases import Leases
from reeldex.storage.remote_path import RemotePath, local_side
from reeldex.storage.store import FeatureStore
from reeldex.storage.workspace import RemoteWorkspace
from tests.object_services import client, url_of
from tests.object_store import Fault, ObjectStore
from tests.storage.test_object_storage import SPACE, features, plan, publish, stage
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


class Impatient(Leases):
    """Takes every lease for abandoned."""

    def is_abandoned(self, found: FoundLease) -> bool:
        return bool(found.name)


def medium(store: FeatureStore) -> LeaseObjects:
    folder = layout.claims_folder(store.path)
    assert isinstance(folder, RemotePath)
    return LeaseObjects(folder)


def overtake(store: FeatureStore) -> None:
    """Take over all claims, as another machine does after their time of silence, and release them."""
    Impatient(medium(store)).clear("", LeaseOwner.this_process(), fence_of(store.path))


def keys(service: ObjectStore) -> list[str]:
    return [path.removeprefix("lab/") for path in client(service).find("lab")]


def content_of(service: ObjectStore, key: str) -> bytes:
    content: bytes = client(service).cat_file(f"lab/{key}")
    return content


def claims(service: ObjectStore) -> list[str]:
    return [each for each in keys(service) if "/claims/" in each and not each.endswith(".folder")]


@pytest.fixture
def store(service: ObjectStore) -> FeatureStore:
    store = FeatureStore(url_of(service), create=True)
    plan(store, range(4))
    return store


@pytest.fixture
def once() -> Iterator[pytest.MonkeyPatch]:
    """Patches of the test's own, which it undoes while the environment of the server stays."""
    patches = pytest.MonkeyPatch()
    yield patches
    patches.undo()


def test_an_object_is_created_once_and_replaced_only_while_it_is_there(
    service: ObjectStore, store: FeatureStore
) -> None:
    leases = medium(store)
    assert leases.list() == []
    assert leases.create("a.1.json", b"1")
    assert not leases.create("a.1.json", b"2")
    assert (leases.read("a.1.json"), leases.list()) == (b"1", ["a.1.json"])
    assert leases.replace("a.1.json", b"3")
    leases.delete("a.1.json")
    leases.delete("a.1.json")
    assert not leases.replace("a.1.json", b"4")
    assert (leases.read("a.1.json"), leases.list()) == (None, [])


@pytest.mark.parametrize("then", ["deleted", "replaced"])
def test_a_renewal_that_was_paused_does_not_bring_a_lease_back(
    service: ObjectStore, store: FeatureStore, once: pytest.MonkeyPatch, then: str
) -> None:
    leases, real = medium(store), RemotePath.version_now
    assert leases.create("a.1.json", b"mine")

    def paused(path: RemotePath, deadline: float | None = None) -> str | None:
        version = real(path, deadline)
        once.undo()
        path.unlink()
        if then == "replaced":
            path.create(b"another's")
        return version

    once.setattr(RemotePath, "version_now", paused)
    assert not leases.replace("a.1.json", b"mine, renewed")
    assert leases.read("a.1.json") == (b"another's" if then == "replaced" else None)


def test_a_lost_answer_to_a_renewal_is_no_loss(service: ObjectStore, store: FeatureStore) -> None:
    leases = medium(store)
    assert leases.create("a.1.json", b"1")
    service.fail(Fault(503, "SlowDown", meant=lambda request: request.method in ("PUT", "POST")), times=2)
    assert leases.replace("a.1.json", b"2")
    assert leases.read("a.1.json") == b"2"


@pytest.mark.parametrize("slow", ["GET", "HEAD", "PUT"])
def test_a_slow_renewal_is_given_up_before_the_lease_lapses(
    service: ObjectStore, store: FeatureStore, slow: str
) -> None:
    with claim_shard(store.path, 0, lease_seconds=3) as lease:
        service.fail(Fault(503, "SlowDown", seconds=4, meant=lambda request: request.method == slow), times=1)
        # Renewed every half second; the first of them is answered after 4 s.
        assert wait_until(lambda: lease.record.renewals, 2.9)
        assert lease.is_held()


def test_a_shard_has_one_holder_and_leaves_no_trace(service: ObjectStore, store: FeatureStore) -> None:
    with claim_shard(store.path, 0):
        stage(store, 0)
        with pytest.raises(ClaimHeldError, match=r"process \d+ on"), claim_shard(store.path, 0):
            pass
        assert len(live_tokens(store.path)) == 1
        with pytest.raises(StoreBusyError, match="is in use by process"), FeatureStore(url_of(service)).lock():
            pass
        publish(store, 0)
    assert claims(service) == []
    assert store.status().ok == 4
    assert [path.name for path in (local_side(store.path) / "staging").iterdir() if path.name[0] != "."] == []


@pytest.mark.parametrize("paused_in", ["require", "upload"])
def test_a_former_holder_changes_nothing(
    service: ObjectStore, store: FeatureStore, once: pytest.MonkeyPatch, paused_in: str
) -> None:
    """Paused before its check, or between the check and the upload of what was new then."""
    stage(store, 0)
    name = "is_held" if paused_in == "require" else "upload_new"
    real: Any = None

    def overtaken(*arguments: object) -> object:
        once.undo()
        overtake(store)
        other = FeatureStore(url_of(service))
        with claim_shard(other.path, 0):
            stage(other, 0)
            publish(other, 0)
        return real(*arguments)

    patched = RemoteWorkspace if paused_in == "require" else RemotePath
    real = getattr(patched, name)
    with pytest.raises(ClaimLostError), claim_shard(store.path, 0):  # noqa: PT012 - the block is held
        once.setattr(patched, name, overtaken)
        publish(store, 0)
    assert FeatureStore(url_of(service)).verify().sound
    assert FeatureStore(url_of(service)).status().ok == 4
    assert claims(service) == []


def test_a_former_holder_stages_and_removes_nothing(service: ObjectStore, store: FeatureStore) -> None:
    with pytest.raises(ClaimLostError), claim_shard(store.path, 0):  # noqa: PT012 - the block is held
        overtake(store)
        stage(store, 0)
    assert store.status().staged == 0
    before = content_of(service, "some/store/manifest/shard-00000.json")
    with pytest.raises(ClaimLostError), claim_shard(store.path, 0):  # noqa: PT012 - the block is held
        overtake(store)
        plan(store, range(4, 8))
    assert content_of(service, "some/store/manifest/shard-00000.json") == before
    assert "some/store/manifest/shard-00001.json" not in keys(service)


def test_a_service_that_cannot_compare_versions_shares_nothing() -> None:
    store = FeatureStore("memory://lab/store", create=True)
    with pytest.raises(StoreError, match="Runs cannot share memory://lab/store"), store.join(share=True):
        pass
    with store.join():
        pass


def _race(url: str, barrier: Any, results: Any) -> None:  # noqa: ANN401 - what multiprocessing makes
    store = FeatureStore(url)
    barrier.wait()
    done = []
    for shard in range(4):
        try:
            with claim_shard(store.path, shard):
                if store.outcomes(shard) is None:
                    stage(store, shard)
                    publish(store, shard)
                    done.append(shard)
        except ClaimHeldError:
            continue
    results.put(done)


def test_processes_race_for_the_shards_of_a_store(service: ObjectStore) -> None:
    store = FeatureStore(url_of(service), create=True)
    plan(store, range(16))
    context: Any = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    racers = [context.Process(target=_race, args=(url_of(service), barrier, results)) for _ in range(3)]
    for racer in racers:
        racer.start()
    done = [results.get(timeout=240) for _ in racers]
    for racer in racers:
        racer.join(60)
    # Each shard once, whoever did it; two that met at the same moment may both have left one.
    published = sorted(shard for shards in done for shard in shards)
    assert published == sorted(set(published))
    # Google Cloud's requests name the object in their content.
    uploads = [each for each in service.asked("PUT") if each.path.endswith(".h5")]
    assert service.scheme == "gs" or len(uploads) == len(published)
    for shard in set(range(4)) - set(published):
        stage(store, shard)
        publish(store, shard)
    assert FeatureStore(url_of(service)).verify().sound
    np.testing.assert_array_equal(FeatureStore(url_of(service)).read(SPACE.name, "v9"), features(9).rows)
    assert leases_of(store.path).live("") == []


def test_who_waits_for_a_store_waits_through_an_outage(service: ObjectStore, store: FeatureStore) -> None:
    if service.scheme != "s3":
        pytest.skip("a release asks with GET there, which fails here")

    waiting, held = FeatureStore(url_of(service)), threading.Event()

    def hold_and_lose_the_store() -> None:
        with claim_shard(store.path, 0):
            held.set()
            assert wait_until(lambda: service.requests, 60)
            service.fail(Fault(503, "SlowDown", meant=lambda request: request.method == "GET"), times=20)

    thread = threading.Thread(target=hold_and_lose_the_store)
    thread.start()
    held.wait()
    service.requests.clear()
    with waiting.lock(wait_seconds=60):
        assert not service.faults[0][1]  # all of it
    thread.join()
    service.fail(Fault(503, "SlowDown"))
    # Who comes then is told at once.
    with pytest.raises(RemoteError, match="asks for fewer requests"), alone(store.path, 60):
        pass
