"""Features are compared, and each cause is made: with a small real network, real pictures and real files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reeldex.storage.comparison.compare import Comparison, SpaceComparison, compare_features, pair_spaces
from reeldex.storage.comparison.feature_sets import FeatureSet, open_feature_sets
from reeldex.storage.comparison.rows import compare_rows
from reeldex.storage.errors import StoreError
from reeldex.storage.npy_export import export_npy
from reeldex.storage.npy_import import import_npy
from reeldex.storage.schema import FeatureSpace, VideoOutcome
from reeldex.storage.store import FeatureStore

Rows = npt.NDArray[np.float16]
Act = Callable[..., None]

HEIGHT, WIDTH, RATE = 48, 64, 2
PICTURES = {
    "pattern": "testsrc2=size=320x240:rate=24:duration=12",
    "fractal": "mandelbrot=size=320x240:rate=24,hue=H=t",
    "life": "life=size=160x120:rate=24:mold=10:ratio=0.2:death_color=red:life_color=yellow:mold_color=blue:seed=1",
    "clock": "testsrc=size=320x240:rate=24:duration=12",
}


@cache
def frames(picture: str, *, shift_seconds: float = 0.0, scaling: str = "bicubic") -> npt.NDArray[np.uint8]:
    """Sample 12 s of a moving test picture, as RGB."""
    from reeldex.extractors import ffmpeg

    graph = f"setpts=PTS+{shift_seconds}/TB,fps={RATE},scale={WIDTH}:{HEIGHT}:flags={scaling}"
    source = ["-f", "lavfi", "-t", "12", "-i", PICTURES[picture]]
    output = ["-vf", graph, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    command = [ffmpeg.executable(), "-v", "error", "-nostdin", *source, *output]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)


@cache
def network(seed: int) -> object:
    import torch

    from reeldex.extractors.resnet2d import ResNet

    torch.manual_seed(seed)
    found = ResNet(blocks_per_stage=(1, 1, 1, 1), classes=4)
    found.fc = torch.nn.Identity()
    return found.eval()


def features(pictures: npt.NDArray[np.uint8], seed: int = 0, *, normalise: bool = True) -> Rows:
    """Pass RGB pictures through a small residual network with weights of this seed."""
    import torch

    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    with torch.inference_mode():
        clips = torch.from_numpy(((pictures / 255 - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
        rows = network(seed)(clips).numpy()  # type: ignore[operator]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalise else rows
    stored: Rows = rows.astype(np.float16)
    return stored


@cache
def base() -> dict[str, Rows]:
    return {name: features(frames(name)) for name in PICTURES}


def write(folder: Path, rows: Mapping[str, npt.NDArray[np.floating]]) -> Path:
    folder.mkdir(parents=True)
    for name, each in rows.items():
        np.save(folder / f"{name}.npy", each)
    return folder


def compared(tmp_path: Path, other: Mapping[str, npt.NDArray[np.floating]]) -> SpaceComparison:
    found = compare_features(write(tmp_path / "a", base()), write(tmp_path / "b", other))
    assert (len(found.spaces), found.only_in_a, found.only_in_b) == (1, (), ())
    return found.spaces[0]


def kinds(found: SpaceComparison) -> list[str]:
    return [each.kind for each in found.causes]


def overflowing() -> dict[str, Rows]:
    """Rows of activations that are too large for float16, as float16."""
    with np.errstate(over="ignore"):
        return {name: (rows.astype(np.float32) * 1e6).astype(np.float16) for name, rows in base().items()}


def normalised_too_late() -> dict[str, Rows]:
    with np.errstate(over="ignore", invalid="ignore"):
        return {name: rows / np.linalg.norm(rows, axis=1, keepdims=True) for name, rows in overflowing().items()}


def rounded_twice() -> dict[str, Rows]:
    """Rows whose last bits a half-precision device computes in another way."""
    generator = np.random.default_rng(0)
    noise = {name: generator.normal(1, 3e-3, rows.shape) for name, rows in base().items()}
    return {name: (rows * noise[name]).astype(np.float16) for name, rows in base().items()}


# Each cause, and the features that it makes of the same videos.
CAUSES: dict[str, tuple[Callable[[], Mapping[str, npt.NDArray[np.floating]]], list[str]]] = {
    "nothing": (base, []),
    "half precision": (rounded_twice, ["rounding"]),
    "another scaling": (
        lambda: {name: features(frames(name, scaling="area")) for name in PICTURES},
        ["another decoding"],
    ),
    "BGR": (
        lambda: {name: features(frames(name)[..., ::-1]) for name in PICTURES},
        ["other preprocessing, such as BGR instead of RGB"],
    ),
    "weights": (lambda: {name: features(frames(name), seed=1) for name in PICTURES}, ["other weights"]),
    "half a row": (
        lambda: {name: features(frames(name, shift_seconds=-0.25))[:23] for name in PICTURES},
        ["rows missing at the end", "frame shift"],
    ),
    "a row": (lambda: {name: rows[1:] for name, rows in base().items()}, ["row shift"]),
    "the end": (lambda: {name: rows[:-2] for name, rows in base().items()}, ["rows missing at the end"]),
    "norms": (
        lambda: {name: 7 * features(frames(name), normalise=False) for name in PICTURES},
        ["normalised or not"],
    ),
    "overflow": (overflowing, ["float16 overflow"]),
    "overflow before normalising": (normalised_too_late, ["float16 overflow"]),
    "zeros": (
        lambda: {name: np.concatenate([rows[:-3], np.zeros_like(rows[:3])]) for name, rows in base().items()},
        ["rows of zeros"],
    ),
    "videos": (
        lambda: dict(zip(PICTURES, [base()[name] for name in ("fractal", "life", "clock", "pattern")], strict=True)),
        ["other videos under the same ids"],
    ),
    "three times as long": (lambda: {name: 3 * rows for name, rows in base().items()}, ["normalised or not"]),
    "one video": (lambda: {**base(), "life": base()["fractal"]}, ["other videos under the same ids"]),
    "another rate": (
        lambda: {name: np.repeat(rows, 3, axis=0)[::2] for name, rows in base().items()},
        ["another rate of rows"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("cause", CAUSES)
def test_the_cause_is_named(tmp_path: Path, cause: str) -> None:
    make, expected = CAUSES[cause]
    found = compared(tmp_path, make())
    assert kinds(found) == expected, [each.text for each in found.causes]
    assert found.agrees(0.9999) == (expected in ([], ["rounding"]))


def test_shift_and_cosines_by_row() -> None:
    rows = np.random.default_rng(3).normal(size=(12, 16)).astype(np.float16)
    found = compare_rows(rows, np.concatenate([rows[2:], rows[:1]]))
    assert (found.shift, found.first_row, len(found.cosines)) == (-2, 2, 10)
    assert found.least > 0.99999
    later = compare_rows(rows[:8], np.concatenate([rows[9:], rows[:8]]))
    assert (later.shift, later.first_row, len(later.cosines)) == (3, 0, 8)
    changed = rows.copy()
    changed[5] = -changed[5]
    found = compare_rows(rows, changed)
    assert (found.shift, found.least_row, found.agrees(0.9999)) == (0, 5, False)
    assert found.least == pytest.approx(-1)
    assert found.median == pytest.approx(1)
    one = compare_rows(rows[:1], rows[:1])
    assert (one.identical, one.agrees(1 - 1e-9)) == (True, True)
    still = np.ones((20, 4), np.float16)
    assert compare_rows(still, still[:18]).shift == 0
    with pytest.raises(ValueError, match="dimension 16 and 4"):
        compare_rows(rows, still)


def test_wider_types_and_rows_without_a_direction() -> None:
    rows = np.random.default_rng(3).normal(size=(6, 16)).astype(np.float16)
    assert compare_rows(rows, rows.astype(np.float64)).agrees(0.9999)
    empty = rows.copy()
    empty[:] = np.nan
    found = compare_rows(rows, empty)
    assert (found.least_row, found.overflown, found.agrees(-1)) == (None, (0, 6), False)
    zeros = np.zeros_like(rows)
    assert compare_rows(zeros, zeros).agrees(0.9999)
    assert compare_rows(rows, zeros).zero == (0, 6)


@pytest.mark.slow
def test_another_scale_of_rows_that_are_not_normalised(tmp_path: Path) -> None:
    rows = {name: 5 * each for name, each in base().items()}
    write(tmp_path / "a", rows)
    write(tmp_path / "b", {name: each / 2 for name, each in rows.items()})
    found = compare_features(tmp_path / "a", tmp_path / "b").spaces[0]
    assert kinds(found) == ["another scale"]
    assert "Rows of B are 0.5 times as long" in found.causes[0].text
    assert not found.agrees(0.9999)


def test_arrays_without_rows() -> None:
    rows = np.ones((3, 4), np.float16)
    for other in (rows, rows[:0]):
        found = compare_rows(rows[:0], other)
        assert (found.least_row, found.shift, found.agrees(0.5)) == (None, 0, False)


def test_the_cause_is_found_among_many_videos(tmp_path: Path) -> None:
    """Only the rows of some videos are kept; those that differ are, wherever they are in the order of the ids."""
    rows = np.random.default_rng(1).normal(size=(130, 5, 16)).astype(np.float16)
    write(tmp_path / "a", {f"{at:03}": each for at, each in enumerate(rows)})
    other = {f"{at:03}": each[:-1] if at < 70 else each for at, each in enumerate(rows)}
    write(tmp_path / "b", {**other, "129": rows[3]})
    found = compare_features(tmp_path / "a", tmp_path / "b").spaces[0]
    assert kinds(found) == ["rows missing at the end", "other videos under the same ids"]
    assert [each.videos for each in found.causes] == [70, 1]


@pytest.mark.slow
def test_missing_videos_and_names_with_another_form(tmp_path: Path) -> None:
    rows = base()["pattern"]
    write(tmp_path / "a", {"x": rows, "same": rows, "clip.mp4": rows, "y": rows, "caf\u00e9": rows})
    folder = write(tmp_path / "b", {"same": rows, "clip": rows, "z": rows, "cafe\u0301": rows})
    (folder / "sub").mkdir()
    np.save(folder / "sub/x.npy", rows)
    found = compare_features(tmp_path / "a", folder).spaces[0]
    assert {(each.video_id, each.other_id) for each in found.videos} == {
        ("same", "same"),
        ("clip.mp4", "clip"),
        ("x", "sub/x"),
        ("caf\u00e9", "cafe\u0301"),
    }
    assert (found.only_in_a, found.only_in_b) == (("y",), ("z",))
    assert found.differing(0.9999) == []
    assert not found.agrees(0.9999)


def test_files_that_cannot_be_compared_do_not_stop_the_others(tmp_path: Path) -> None:
    rows = base()["pattern"]
    write(tmp_path / "a", {"good": rows, "wide": rows, "broken": rows, "whole": rows})
    folder = write(tmp_path / "b", {"good": rows, "wide": rows[:, :8], "whole": rows})
    (folder / "broken.npy").write_bytes(b"no array")
    np.save(folder / "whole.npy", np.ones((3, 4), np.int64))
    found = compare_features(tmp_path / "a", folder).spaces[0]
    problems = {each.video_id: each.problem for each in found.videos if each.problem}
    assert set(problems) == {"wide", "broken", "whole"}
    assert "dimension 2048 and 8" in str(problems["wide"])
    assert "it is not an .npy file" in str(problems["broken"])
    assert "int64" in str(problems["whole"])
    assert {each.video_id for each in found.differing(0.9999)} == set(problems)


@pytest.fixture
def filled(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace) -> FeatureStore:
    grow("a", "b", "c", spaces=(two_d, three_d))
    fill(0, (two_d, three_d))
    return store


def test_a_store_and_its_export_are_the_same(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "npy")
    for other in (tmp_path / "npy", filled.path):
        found = compare_features(filled.path, other)
        assert [each.spaces for each in found.spaces] == [("net2d.v1", "net2d.v1"), ("net3d.v1", "net3d.v1")]
        assert found.agrees(1 - 1e-9)
        assert all(each.recorded == () and each.causes == () for each in found.spaces)
    for path in (tmp_path / "npy").rglob("features.json"):
        path.unlink()
    (tmp_path / "npy/net2d.v1").rename(tmp_path / "2d")
    # One folder of .npy files, whose space only the user knows.
    assert compare_features(filled.path, tmp_path / "2d", "net2d.v1").agrees(0.9999)
    with pytest.raises(StoreError, match=r"no feature space in common\. Name the one .*--space"):
        compare_features(filled.path, tmp_path / "2d")
    found = compare_features(filled.path, tmp_path / "npy")
    assert (found.only_in_a, found.agrees(0.9999)) == (("net2d.v1",), False)
    with pytest.raises(StoreError, match=r"has no feature space 'net9d\.v1'. It has: net2d\.v1, net3d\.v1"):
        compare_features(filled.path, tmp_path / "2d", "net9d.v1")


def test_settings_and_versions_that_are_recorded(tmp_path: Path, grow: Act, fill: Act, store: FeatureStore) -> None:
    grow("a")
    fill(0)
    other = FeatureStore(tmp_path / "other", create=True)
    export_npy(store, tmp_path / "npy")
    with other.lock():
        import_npy(tmp_path / "npy", other, seconds_per_row={})
    assert compare_features(store.path, other.path).spaces[0].recorded == ()
    rows = store.rows("net2d.v1", "a")
    for name, weights, version in (("new", "zz", "9.0.2"), ("old", "aa", "5.1.9")):
        made = FeatureStore(tmp_path / name, create=True)
        made.add_shards(store.manifests())
        space = FeatureSpace("net2d.v1", {"weights": {"sha256": weights}, "fps": 1})
        made.staging(0).put(0, VideoOutcome("a", "/videos/a.mp4", "ok", None, "", 1), {space: rows})
        made.publish_shard(0, [space], provenance={"ffmpeg": version, "host": name}, seconds_of_work=0)
    found = compare_features(tmp_path / "new", tmp_path / "old").spaces[0]
    assert found.recorded == ('weights.sha256: "zz" in A, "aa" in B', 'ffmpeg: "9.0.2" in A, "5.1.9" in B')
    assert found.agrees(0.9999)


@pytest.mark.parametrize(
    ("names_a", "names_b", "expected"),
    [
        (["n.x"], ["m.y"], ["n.x m.y"]),
        (["n.x", "m.y"], ["m.y", "n.x"], ["n.x n.x", "m.y m.y"]),
        (["n.x", "m.y"], ["n.z", "m.y"], ["m.y m.y", "n.x n.z"]),
        (["n.x", "n.y"], ["n.y"], ["n.y n.y"]),
        (["n.x", "n.y"], ["n.z", "m.x"], []),
        (["n.x", "m.y"], [None], []),
        ([None], [None], ["None None"]),
    ],
)
def test_which_spaces_are_compared(names_a: list[str | None], names_b: list[str | None], expected: list[str]) -> None:
    def sets(names: list[str | None]) -> list[FeatureSet]:
        def nothing(_: str) -> Any:  # noqa: ANN401 - never called
            raise AssertionError

        return [FeatureSet(name, (), None, nothing, nothing) for name in names]

    assert [f"{a.space} {b.space}" for a, b in pair_spaces(sets(names_a), sets(names_b))] == expected


@pytest.mark.parametrize("content", ["nothing", "file", "empty", "new store"])
def test_what_is_neither_a_store_nor_features(tmp_path: Path, content: str) -> None:
    path = tmp_path / "b"
    if content == "file":
        path.write_text("x")
    elif content == "empty":
        path.mkdir()
    elif content == "new store":
        FeatureStore(path, create=True)
    with pytest.raises(StoreError, match=r"neither a feature store|contains no|no features yet"):
        compare_features(write(tmp_path / "a", base()), path)


def test_a_comparison_of_nothing_agrees_with_nothing(tmp_path: Path) -> None:
    rows = base()["pattern"]
    found: Comparison = compare_features(write(tmp_path / "a", {"x": rows}), write(tmp_path / "b", {"y": rows}))
    assert not found.agrees(0.9999)
    assert found.spaces[0].videos == ()


def test_files_beside_folders_of_feature_spaces_are_not_passed_over(tmp_path: Path) -> None:
    for name in ("net2d.v1/a.npy", "b.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, np.ones((2, 4), np.float16))
    with pytest.raises(StoreError, match=r"folders with names of feature spaces, such as net2d\.v1, .* such as b\.npy"):
        open_feature_sets(tmp_path)
    (tmp_path / "b.npy").unlink()
    (tmp_path / "b.mp4").symlink_to(tmp_path / "absent")
    assert [each.space for each in open_feature_sets(tmp_path).sets] == ["net2d.v1"]
