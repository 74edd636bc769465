"""Batches of rows for training: in this process, in the workers of a DataLoader, and after a fork."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(("method", "workers"), [("fork", 8), ("spawn", 2)])
def test_workers_of_a_data_loader_read_the_same_rows(filled: FeatureStore, method: str, workers: int) -> None:
    # A process of its own, as a training is one: this one has threads of libraries that are none of its concern.
    program = [sys.executable, "-m", "tests.storage.data_loader", str(filled.path), method, str(workers)]
    done = subprocess.run(program, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3 epochs of 40 videos\n"), done.stderr


@pytest.mark.slow
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
