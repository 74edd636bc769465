"""What a build and an index refuse: other makings, lost files, damage."""

from __future__ import annotations

import errno
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reeldex.embedding.block_pooling import pool_opened
from reeldex.embedding.errors import CheckpointError, CheckpointMismatchError, FeaturesError, FeaturesUnreadableError
from reeldex.embedding.words.cache import write_cache
from reeldex.embedding.words.vectors import WordVectors
from reeldex.flows.execution.errors import is_infrastructure_fault
from reeldex.search.ann_index import AnnIndex
from reeldex.search.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexMismatchError,
    IndexUnreadableError,
    NothingToIndexError,
    SearchError,
    VideosVanishedError,
)
from reeldex.search.generation import read_generation
from reeldex.search.index import SearchIndex
from reeldex.search.segments import open_segment
from reeldex.search.store_videos import StoreVideo, StoreVideos, with_files
from reeldex.search.video_records import VideoRecords
from reeldex.storage.lock import hold_lock
from tests.search.library import (
    OPTIONS,
    SPACES,
    VOCABULARY,
    Library,
    answers,
    counts,
    make_library,
    write_checkpoint,
)
from tests.system_faults import make_readable, make_unreadable, no_more_files


def test_two_builds_at_once_are_refused(library: Library) -> None:
    library.build()
    said = r"The index .* is in use by process \d+ .*\(the first build\)"
    with hold_lock(library.folder / "index", 0, work="the first build"), pytest.raises(IndexBusyError, match=said):
        library.build()
    assert counts(library.build()) == (0, 0, 0, 8)


def test_another_checkpoint_is_refused_until_a_rebuild_is_asked_for(library: Library) -> None:
    library.build()
    before = answers(library.folder / "index")
    write_checkpoint(library.folder / "other.pth", seed=5)
    with pytest.raises(IndexMismatchError, match=r"made with another checkpoint than .*--rebuild"):
        library.build(checkpoint=library.folder / "other.pth")
    with pytest.raises(IndexMismatchError, match=r"and .*other.pth has [0-9a-f]{64}: .*Use the checkpoint that was at"):
        SearchIndex.open(library.folder / "index", checkpoint=library.folder / "other.pth")
    assert answers(library.folder / "index") == before
    report = library.build(checkpoint=library.folder / "other.pth", rebuild=True)
    assert counts(report) == (8, 0, 0, 0)
    assert answers(library.folder / "index") != before
    library.build("fresh", checkpoint=library.folder / "other.pth")
    assert answers(library.folder / "index") == answers(library.folder / "fresh")


def test_the_same_checkpoint_elsewhere_is_the_same(library: Library) -> None:
    library.build()
    library.checkpoint.rename(library.folder / "moved.pth")
    with pytest.raises(CheckpointError, match=r"made with the checkpoint .*model.pth, which can no longer be read"):
        SearchIndex.open(library.folder / "index")
    with SearchIndex.open(library.folder / "index", checkpoint=library.folder / "moved.pth") as index:
        assert len(index.search("soup")) == 10
    assert counts(library.build(checkpoint=library.folder / "moved.pth")) == (0, 0, 0, 8)
    SearchIndex.open(library.folder / "index").close()
    assert library.build(checkpoint=library.folder / "moved.pth").up_to_date


def test_a_checkpoint_that_is_replaced_after_an_index_was_opened_is_not_asked(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no towers"))
    library.build()
    with SearchIndex.open(library.folder / "index") as index:
        write_checkpoint(library.checkpoint, seed=5)
        with pytest.raises(IndexMismatchError, match=r"made with a checkpoint of .* and .*model.pth has"):
            index.search("soup")
        assert index.like("part0/video4.mp4", 3.0), "this needs no checkpoint"


def test_other_word_vectors_windows_or_store_are_refused(library: Library, tmp_path: Path) -> None:
    library.build()
    write_cache(tmp_path / "other.words", VOCABULARY, np.ones((len(VOCABULARY), 5), np.float32), "other words")
    other = WordVectors(tmp_path / "other.words")
    with pytest.raises(IndexMismatchError, match="they are not comparable"):
        SearchIndex.open(library.folder / "index", word_vectors=other)
    with pytest.raises(IndexMismatchError, match="another word vectors"):
        library.build(words=other)
    with pytest.raises(IndexMismatchError, match="another window_seconds"):
        library.build(options=OPTIONS.replaced(window_seconds=10.0))
    elsewhere = make_library(tmp_path / "elsewhere", {"other.mp4": 20.0})
    with pytest.raises(IndexMismatchError, match="another store"):
        library.build(store=elsewhere.folder / "store")
    shutil.rmtree(library.folder / "store")
    shutil.copytree(elsewhere.folder / "store", library.folder / "store")
    with pytest.raises(
        IndexMismatchError, match=r"came from the store .*/store, which has been replaced by a new one since, the check"
    ):
        library.build()
    (library.folder / "random.words").unlink()
    with pytest.raises(IndexMismatchError, match=r"The cache .*random.words .* no longer exists\. .*--word-vectors"):
        SearchIndex.open(library.folder / "index")


def test_a_checkpoint_of_other_features_or_words_is_refused(library: Library) -> None:
    write_checkpoint(library.checkpoint, word_vectors="others")
    with pytest.raises(CheckpointMismatchError, match="was trained with word vectors of the SHA-256 others"):
        library.build()
    features = {"2d": {"space": "resnet152.other", "fingerprint": {}}}
    write_checkpoint(library.checkpoint, features=features)
    with pytest.raises(CheckpointMismatchError, match=r"was trained on 2d features of resnet152.other"):
        library.build()


def test_a_store_that_was_moved_is_the_same(library: Library) -> None:
    library.build()
    (library.folder / "store").rename(library.folder / "moved")
    report = library.build(store=library.folder / "moved")
    assert counts(report) == (0, 0, 0, 8)
    with SearchIndex.open(library.folder / "index") as index:
        assert index.about().store == str(library.folder / "moved")


def test_when_most_files_are_gone_the_disk_is_asked_for(library: Library) -> None:
    library.build()
    (library.folder / "videos").rename(library.folder / "unmounted")
    with pytest.raises(VideosVanishedError, match=r"files of 8 of the 8 videos .* Is their disk mounted"):
        library.build()
    kept = library.build(options=OPTIONS.replaced(missing_files="keep"))
    assert counts(kept) == (0, 0, 0, 8)
    with pytest.raises(NothingToIndexError, match="none of the files of its 8 videos is there"):
        library.build("other")


def test_a_video_at_a_url_counts_as_existing() -> None:
    here = StoreVideo("a", str(Path(__file__)), 1.0, "x", 0, captioned=False)
    remote, gone = replace(here, video_id="b", path="s3://lab/b.mp4"), replace(here, video_id="c", path="/gone.mp4")
    for videos in ([here, remote, gone], [here, remote]):
        assert list(with_files(StoreVideos(videos), VideoRecords(), "drop")) == [here, remote]


@pytest.mark.slow
def test_features_that_cannot_be_used_are_named_and_the_others_indexed(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(streams: Any, widths: Any, video_id: str, spans: Any) -> Any:  # noqa: ANN401 - handed on
        if video_id == "part0/video4.mp4":
            raise FeaturesError("row 3 holds NaN")
        return pool_opened(streams, widths, video_id, spans)

    # Storage refuses to write such rows, so that a damaged disk has to be played.
    with monkeypatch.context() as patched:
        patched.setattr("reeldex.search.embed.pool_opened", refuse)
        report = library.build()
    assert dict(report.failed) == {"part0/video4.mp4": "row 3 holds NaN"}
    assert counts(report) == (7, 0, 0, 0)
    assert "failed: row 3 holds NaN" in str(report)
    assert "row 3 holds NaN" in caplog.text
    assert counts(library.build()) == (1, 0, 0, 7)
    library.build("fresh")
    assert answers(library.folder / "index") == answers(library.folder / "fresh")
    library.add({"part0/video4.mp4": 22.0, "part0/video6.mp4": 22.0}, version=1)
    with monkeypatch.context() as patched:
        patched.setattr("reeldex.search.embed.pool_opened", refuse)
        report = library.build()
    assert counts(report) == (0, 1, 1, 6), "one that changed and can no longer be used has left the index"
    assert report.videos == 7
    assert counts(library.build()) == (1, 0, 0, 7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "index.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "index.json").write_text("{}"), "is not a reeldex-index file"),
        (lambda folder: edit(folder / "index.json", '"moments": ', '"moments": 1'), "was edited or damaged"),
        (lambda folder: edit(folder / "index.json", '"at_10": ', '"at_10": 1e999, "at": '), "was edited or damaged"),
        (lambda folder: next(folder.glob("*.faiss")).unlink(), r"structure-00001.faiss is missing"),
        (lambda folder: truncate(next(folder.glob("*.embeddings.npy"))), r"has \d+ bytes instead of \d+"),
        (lambda folder: truncate(next(folder.glob("*.moments.npy"))), r"has \d+ bytes instead of \d+"),
        (lambda folder: scramble(next(folder.glob("*.embeddings.npy"))), "does not have the expected content"),
        (lambda folder: scramble(next(folder.glob("*.faiss"))), r"structure-00001.faiss cannot be read"),
        (lambda folder: scramble(next(folder.glob("videos-*"))), r"does not hold the videos"),
        (
            lambda folder: edit(folder / "index.json", '"format_version": 2', '"format_version": 1'),
            "format version 1, and this reeldex reads 2",
        ),
    ],
)
def test_a_damaged_index_is_refused_and_can_be_rebuilt(
    library: Library, damage: Callable[[Path], None], message: str
) -> None:
    library.build()
    damage(library.folder / "index")
    for use in (lambda: SearchIndex.open(library.folder / "index"), library.build):
        with pytest.raises(IndexDamagedError, match=message) as refused:
            use()
        assert "--rebuild" in str(refused.value)
        assert len(str(refused.value)) < 600 + len(str(library.folder))
        assert "allow_pickle" not in str(refused.value)
        assert "/project/" not in str(refused.value), "the place in FAISS's sources"
    assert counts(library.build(rebuild=True)) == (8, 0, 0, 0)
    library.build("fresh")
    assert answers(library.folder / "index") == answers(library.folder / "fresh")


def test_what_the_system_does_not_let_us_read_is_not_built_again(library: Library) -> None:
    library.build()
    folder = library.folder / "index"
    files = {path: path.read_bytes() for path in folder.iterdir()}
    generation = read_generation(folder)
    with no_more_files(), pytest.raises(IndexUnreadableError, match=r"Too many open files.*`ulimit -n`"):
        SearchIndex.open(folder)
    with no_more_files(), pytest.raises(IndexUnreadableError, match="Too many open files"):
        AnnIndex.load(folder, generation.ann_index)
    with no_more_files(), pytest.raises(IndexUnreadableError, match="Too many open files"):
        open_segment(folder, 1, generation.rows[1], generation.inputs.embed_dim)
    for path in files:
        if path.name == ".lock":
            continue
        path.rename(library.folder / "elsewhere")
        path.symlink_to(library.folder / "not mounted")
        for rebuild in (False, True):
            with pytest.raises(IndexUnreadableError, match=r"mount its disk.*do not delete it"):
                library.build(rebuild=rebuild)
        path.unlink()
        (library.folder / "elsewhere").rename(path)
    make_unreadable(folder / "index.json")
    with pytest.raises(IndexUnreadableError) as failed:
        SearchIndex.open(folder)
    assert is_infrastructure_fault(failed.value), "a disk that fails is no fault of the user"
    assert failed.value.errno == pickle.loads(pickle.dumps(failed.value)).errno == errno.EIO  # noqa: S301 - our own
    make_readable(folder / "index.json")
    assert {path: path.read_bytes() for path in folder.iterdir()} == files
    assert library.build().up_to_date


@pytest.mark.slow
def test_a_store_that_cannot_be_read_leaves_no_video_out(library: Library) -> None:
    library.build()
    library.add({"more.mp4": 20.0})
    shard = max((library.store.path / "features" / SPACES[0].name).iterdir())
    make_unreadable(shard)
    with pytest.raises(FeaturesUnreadableError, match=r"Input/output error. Check the disk"):
        library.build()
    make_readable(shard)
    assert counts(library.build()) == (1, 0, 0, 8)


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def scramble(path: Path) -> None:
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))


def test_a_folder_of_other_things_is_left_alone(library: Library) -> None:
    with pytest.raises(SearchError, match=r"is not an index and not empty: it contains model.pth, random.words, store"):
        library.build("")
