from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.block_pooling import pool_whole
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.locations import open_features
from reeldex.embedding.errors import FeaturesError, FeaturesUnreadableError
from reeldex.embedding.features import NpyFeatures, StoreFeatures
from reeldex.storage.npy_import import import_npy
from reeldex.storage.store import FeatureStore
from reeldex.storage.video_names import name_without_suffix
from tests.embedding.feature_files import SPACES, WIDTHS, make_store, rows_of, write_npy
from tests.system_faults import make_unreadable, no_more_files


@pytest.mark.parametrize(
    ("video_id", "name"),
    [
        ("video7000", "video7000"),
        ("sub/video7000.MP4", "video7000"),
        ("1000_Movie_00.00.00.000-00.00.01.000.avi", "1000_Movie_00.00.00.000-00.00.01.000"),
        ("1000_Movie_00.00.00.000-00.00.01.000", "1000_Movie_00.00.00.000-00.00.01.000"),
        ("1000_Movie_00.00.50.000-00.00.54.264", "1000_Movie_00.00.50.000-00.00.54.264"),
        ("sub/00012.MTS", "00012"),
        ("tape.dvr-ms", "tape"),
        ("a.mp4.mkv", "a.mp4"),
        ("report.txt", "report.txt"),
        ("sub.mp4/a", "a"),
        (".mp4", ".mp4"),
        ("mp4", "mp4"),
    ],
)
def test_names_of_videos(video_id: str, name: str) -> None:
    assert name_without_suffix(video_id) == name


def test_a_store_gives_rows_with_their_own_times(tmp_path: Path) -> None:
    rows = rows_of("sub/a.mp4")
    source = StoreFeatures(make_store(tmp_path, {"sub/a.mp4": rows}))
    assert source.spaces == SPACES
    assert source.stream_dims == WIDTHS
    for video_id in ("sub/a.mp4", "a"):
        assert source.problem(video_id) is None
        for stream in (0, 1):
            video = source.video(stream, video_id)
            assert np.array_equal(video.rows, rows[stream])
            assert video.timing.row_count == len(rows[stream])
            assert not video.rows.flags.writeable
    assert source.video(1, "a").timing.seconds_per_row == pytest.approx(2 / 3)
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301 - as a worker process gets it
    assert np.array_equal(copy.video(0, "a").rows, rows[0])


def test_a_store_says_what_is_wrong_with_a_video(tmp_path: Path) -> None:
    store = make_store(tmp_path, {"x/a.mp4": rows_of("a"), "y/a.mp4": rows_of("b"), "c": rows_of("c")})
    source = StoreFeatures(store)
    assert source.problem("c") is None
    assert "several videos of the store have this name: x/a.mp4, y/a.mp4" in (source.problem("a") or "")
    assert source.problem("d") == "the store has no features of it"
    with pytest.raises(FeaturesError, match=r"'d' cannot be read from .*store: the store has no features of it"):
        source.video(0, "d")


def test_ids_of_the_store_are_found_without_a_table_of_names(tmp_path: Path) -> None:
    rows = rows_of("a")
    store = make_store(tmp_path, {"x/b.mp4": rows, "x/a.mp4": rows, "c": rows})
    shutil.rmtree(write_npy(tmp_path / "more", {"x/only2d.mp4": rows})[1])
    with store.lock():
        import_npy(tmp_path / "more", store, seconds_per_row={SPACES[0]: 1.0})
    named, exact = StoreFeatures(store), StoreFeatures(store, exact_ids=True)
    assert exact.stream_dims == named.stream_dims
    assert exact.fingerprints() == named.fingerprints()
    for video_id in ("x/a.mp4", "x/b.mp4", "c"):
        assert exact.problem(video_id) is None
        assert np.array_equal(exact.video(1, video_id).rows, named.video(1, video_id).rows)
    assert named.problem("a") is None
    for unknown, problem in {"a": "the store has no features of it", "x/only2d.mp4": f"in {SPACES[1]}"}.items():
        assert problem in (exact.problem(unknown) or "")
        with pytest.raises(FeaturesError, match=unknown):
            exact.video(1, unknown)


def test_spaces_are_found_by_network_or_named(tmp_path: Path) -> None:
    store = make_store(tmp_path, {"a": rows_of("a")})
    assert StoreFeatures(store, *SPACES).spaces == SPACES
    with pytest.raises(FeaturesError, match=r"no feature space 'resnet152.tset'.*Did you mean 'resnet152.test'"):
        StoreFeatures(store, "resnet152.tset")
    with pytest.raises(FeaturesError, match=r"Which 2-D features .* has none of the network resnet152"):
        StoreFeatures(FeatureStore(tmp_path / "empty", create=True))


def test_fingerprints_are_those_of_the_store(tmp_path: Path) -> None:
    store = make_store(tmp_path, {"a": rows_of("a")})
    found = StoreFeatures(store).fingerprints()
    assert found["2d"] == {"space": SPACES[0], "fingerprint": store.fingerprint(SPACES[0])}
    assert found["3d"] == {"space": SPACES[1], "fingerprint": store.fingerprint(SPACES[1])}
    npy = NpyFeatures(write_npy(tmp_path / "npy", {"a": rows_of("a")})).fingerprints()
    assert npy["2d"] != npy["3d"]
    assert "dimensions" in str(npy["2d"])


def test_npy_files_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    rows = rows_of("a")
    folders = write_npy(tmp_path, {"P01/a.mp4": rows})
    for source in (NpyFeatures(folders), NpyFeatures(folders, {"a": "P01/a.mp4.npy"})):
        assert source.problem("a") is None
        assert source.stream_dims == WIDTHS
        video = source.video(1, "a")
        assert np.array_equal(video.rows, rows[1])
        assert video.timing.seconds_per_row == 2 / 3
        assert not video.rows.flags.writeable
        assert not video.rows.flags.owndata
    assert "has no .npy file of it" in (NpyFeatures(folders).problem("b") or "")


@pytest.mark.parametrize("kind", ["store", "npy"])
def test_ids_with_and_without_the_ending_of_a_video_file(tmp_path: Path, kind: str) -> None:
    videos = {video_id: rows_of(video_id) for video_id in ("x/a.mp4", "b", "c.d")}
    source = (
        StoreFeatures(make_store(tmp_path, videos)) if kind == "store" else NpyFeatures(write_npy(tmp_path, videos))
    )
    meant = {
        "x/a.mp4": "x/a.mp4",
        "a": "x/a.mp4",
        "a.mp4": "x/a.mp4",
        "b": "b",
        "b.mp4": "b",
        "b.WEBM": "b",
        "c.d": "c.d",
    }
    for asked, video_id in meant.items():
        assert source.problem(asked) is None
        assert np.array_equal(source.video(0, asked).rows, videos[video_id][0])
    for asked in ("a.webm", "y/a.mp4", "y/b", "c"):
        assert "has no" in (source.problem(asked) or "")
        with pytest.raises(FeaturesError, match="has no"):
            source.video(0, asked)


def test_npy_files_that_cannot_be_used(tmp_path: Path) -> None:
    folders = write_npy(tmp_path, {video_id: rows_of(video_id) for video_id in "abcdef"})
    (folders[0] / "b.npy").write_bytes(b"")
    (folders[1] / "c.npy").unlink()
    (folders[0] / "d.npy").write_bytes(b"no array")
    np.save(folders[1] / "e.npy", np.zeros(5, np.float16))
    np.save(folders[1] / "f.npy", np.zeros((5, 9), np.float16))
    source = NpyFeatures(folders)
    assert source.problem("a") is None
    assert "b.npy is empty" in (source.problem("b") or "")
    assert "no .npy file of it" in (source.problem("c") or "")
    with pytest.raises(FeaturesError, match=r"d\.npy cannot be read as an array of numbers: it is not an \.npy"):
        source.video(0, "d")
    with pytest.raises(FeaturesError, match=r"e\.npy contains float16 \(5,\), not \(rows, dimension\)"):
        source.video(1, "e")
    with pytest.raises(FeaturesError, match=r"f\.npy has rows of dimension 9, other files have 4"):
        source.video(1, "f")
    with pytest.raises(FeaturesError, match=r"no \.npy file of the video 'z'"):
        source.video(1, "z")


def test_what_the_system_does_not_let_us_read_is_not_said_to_be_unusable(tmp_path: Path) -> None:
    folders = write_npy(tmp_path, {"a": rows_of("a"), "b": rows_of("b")})
    source = NpyFeatures(folders)
    stored = StoreFeatures(make_store(tmp_path, {"a": rows_of("a")}))
    assert source.stream_dims
    uses: list[Callable[[], object]] = [
        lambda: source.video(0, "a"),
        lambda: stored.video(0, "a"),
        lambda: NpyFeatures(folders),
        lambda: open_features(FeatureLocation(store=stored.store.path)),
    ]
    for use in uses:
        with no_more_files(), pytest.raises(FeaturesUnreadableError, match=r"Too many open files.*`ulimit -n`"):
            use()
    make_unreadable(folders[0] / "a.npy")
    with pytest.raises(FeaturesUnreadableError, match="Input/output error"):
        source.video(0, "a")
    (folders[1] / "b.npy").unlink()
    (folders[1] / "b.npy").symlink_to(tmp_path / "not mounted")
    with pytest.raises(FeaturesUnreadableError, match="mount its disk"):
        source.problem("b")


def test_npy_folders_that_cannot_be_used(tmp_path: Path) -> None:
    folders = write_npy(tmp_path, {"x/a": rows_of("a")})
    with pytest.raises(FeaturesError, match=r"There is no folder .*nowhere"):
        NpyFeatures((folders[0], tmp_path / "nowhere"))
    write_npy(tmp_path, {"y/a.mp4": rows_of("a")})
    with pytest.raises(FeaturesError, match=r"several files of the video 'a': x/a\.npy, y/a\.mp4\.npy"):
        NpyFeatures(folders)
    other = write_npy(tmp_path / "other", {"q": rows_of("q")})
    with pytest.raises(FeaturesError, match="no video in common"):
        NpyFeatures((write_npy(tmp_path / "third", {"r": rows_of("r")})[0], other[1])).stream_dims  # noqa: B018


def test_a_location_is_a_store_or_two_folders(tmp_path: Path) -> None:
    folders = write_npy(tmp_path, {"a": rows_of("a")})
    store = make_store(tmp_path, {"a": rows_of("a")})
    assert open_features(FeatureLocation(store=store.path)).stream_dims == WIDTHS
    location = FeatureLocation(folder_2d=folders[0], folder_3d=folders[1], rows_per_second=(2.0, 1.5))
    assert open_features(location).video(0, "a").timing.seconds_per_row == 0.5
    with pytest.raises(FeaturesError, match="is not a feature store"):
        open_features(FeatureLocation(store=tmp_path / "nowhere"))
    for folder in (None, folders[0]):
        with pytest.raises(ValueError, match="a store, or folder_2d and folder_3d"):
            FeatureLocation(folder_2d=folder)
    with pytest.raises(ValueError, match="not from both"):
        FeatureLocation(store=store.path, folder_2d=folders[0])
    with pytest.raises(ValueError, match="greater than 0"):
        FeatureLocation(store=store.path, rows_per_second=(0, 1.5))


def test_a_file_without_rows_is_not_pooled_to_zeros(tmp_path: Path) -> None:
    folders = write_npy(tmp_path, {"video1": rows_of("video1"), "video2": rows_of("video2")})
    np.save(folders[1] / "video2.npy", np.zeros((0, WIDTHS[1]), np.float16))
    source = NpyFeatures(folders)
    assert pool_whole(source, "video1").any()
    with pytest.raises(FeaturesError, match=r"video2\.npy has no rows"):
        pool_whole(source, "video2")
