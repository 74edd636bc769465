"""Batches of rows for training: in this process, in the workers of a DataLoader, and after a fork."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from reeldex.storage.errors import StoreDamagedError, UnknownSpaceError, UnknownVideoError
from reeldex.storage.reading import OpenShards
from reeldex.storage.schema import FeatureRows
from reeldex.storage.store import FeatureStore

SPACE = "net2d.v1"
VIDEOS = [f"v{at:02d}" for at in range(40)]


@pytest.fixture
def filled(store: FeatureStore, grow: Callable[..., None], fill: Callable[..., None]) -> FeatureStore:
    """A store of 20 shards: more than are kept open."""
    grow(*VIDEOS, videos_per_shard=2)
    for shard in range(20):
        fill(shard)
    return store


def test_rows_come_in_the_order_asked_for(filled: FeatureStore) -> None:
    asked = ["v39", "v00", "v21", "v00", *reversed(VIDEOS)]
    found = filled.read_many(SPACE, asked)
    assert [rows.tobytes() for rows in found] == [filled.read(SPACE, video_id).tobytes() for video_id in asked]
    assert filled.read_many(SPACE, []) == []


def test_spans_of_many_videos(filled: FeatureStore) -> None:
    asked, spans = ["v03", "v30", "v03"], [(0.0, 1.5), (2, 99), (50, 60)]
    found = filled.read_many(SPACE, asked, spans)
    assert [len(rows) for rows in found] == [2, 4, 0]
    for rows, video_id, span in zip(found, asked, spans, strict=True):
        assert rows.tobytes() == filled.read_span(SPACE, video_id, *span).tobytes()
    with pytest.raises(ValueError, match="one span per video: got 1 spans and 2 videos"):
        filled.read_many(SPACE, ["v01", "v02"], [(0, 1)])
    with pytest.raises(ValueError, match="0 <= start <= end"):
        filled.read_many(SPACE, ["v01"], [(2, 1)])


def test_each_file_is_opened_once(filled: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = OpenShards._open

    def counting(shards: OpenShards, path: Path) -> object:
        opened.append(path)
        return real(shards, path)

    monkeypatch.setattr(OpenShards, "_open", counting)
    filled.read_many(SPACE, [*VIDEOS[::2], *VIDEOS[1::2]])
    assert len(opened) == len(set(opened)) == 20


def test_what_cannot_be_read_is_an_error(
    filled: FeatureStore, make_rows: Callable[..., FeatureRows], fill: Callable[..., None]
) -> None:
    with pytest.raises(UnknownVideoError, match="no video 'v4'"):
        filled.read_many(SPACE, ["v01", "v4"])
    with pytest.raises(UnknownSpaceError):
        filled.read_many("net9d.v1", ["v01"])
    path = filled.feature_file(SPACE, "v05")
    content = bytearray(path.read_bytes())
    content[content.index(make_rows(f"v05 {SPACE}").rows.tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="not match the SHA-256"):
        filled.read_many(SPACE, ["v01", "v05"])


class Rows:
    """A data set as a training would write it: PyTorch calls `__getitems__` with the numbers of a batch."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(VIDEOS)

    def __getitem__(self, number: int) -> tuple[str, npt.NDArray[np.float16]]:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> list[tuple[str, npt.NDArray[np.float16]]]:
        ids = [VIDEOS[number] for number in numbers]
        return list(zip(ids, self.store.read_many(SPACE, ids), strict=True))


def as_it_is(batch: list[tuple[str, npt.NDArray[np.float16]]]) -> list[tuple[str, npt.NDArray[np.float16]]]:
    return batch


def batches(store: FeatureStore, method: str | BaseContext, workers: int) -> Iterator[list[tuple[str, bytes]]]:
    from torch.utils.data import DataLoader

    loader: DataLoader[object] = DataLoader(
        Rows(store),  # type: ignore[arg-type]  # what PyTorch calls is there
        batch_size=7,
        shuffle=True,
        num_workers=workers,
        multiprocessing_context=method,
        collate_fn=as_it_is,
        persistent_workers=True,
    )
    for _ in range(3):
        yield [(video_id, rows.tobytes()) for batch in loader for video_id, rows in batch]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "workers"), [("fork", 8), ("spawn", 2)])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create.*:UserWarning")
def test_workers_of_a_data_loader_read_the_same_rows(filled: FeatureStore, method: str, workers: int) -> None:
    # The handles of this process are open before workers start, and used while they run.
    expected = {video_id: filled.read(SPACE, video_id).tobytes() for video_id in VIDEOS}
    for epoch in batches(filled, method, workers):
        assert sorted(video_id for video_id, _ in epoch) == VIDEOS
        assert dict(epoch) == expected
        assert filled.read_many(SPACE, VIDEOS)[3].tobytes() == expected["v03"]


def test_a_child_forked_while_a_thread_reads_does_not_wait_for_it(filled: FeatureStore) -> None:
    inside, done = threading.Event(), threading.Event()
    shards = filled._open_shards
    path = filled.feature_file(SPACE, "v00")

    def hold() -> None:
        with shards.reader(path):
            inside.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        mine = {id(reader) for _, reader in shards._readers.values()}
        filled.read_many(SPACE, VIDEOS[:4])
        os._exit(0 if not mine and len(shards._readers) == 2 else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    done.set()
    thread.join()
    assert status == 0
    assert len(filled.read_many(SPACE, VIDEOS)) == 40
