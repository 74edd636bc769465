from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo, Reeldex
from tests.flows.stores import RANDOM, SPACES, outcomes


@pytest.mark.slow
def test_good_and_broken_files_each_end_in_one_outcome(reeldex: Reeldex, tmp_path: Path, mixed_folder: Path) -> None:
    store = tmp_path / "store"
    answer = reeldex("extract", mixed_folder, "--store", store, *RANDOM, "--shard-videos", 4)
    assert answer.status == 1
    assert outcomes(store) == {
        "-größe.mkv": ("ok", None),
        "cut off.mp4": ("failed", "unreadable"),
        "empty.mp4": ("failed", "unreadable"),
        "good one.mp4": ("ok", None),
        "pipe.mp4": ("failed", "unreadable"),
        "playlist.mp4": ("failed", "unreadable"),
        "sound only.mp4": ("failed", "no_video_stream"),
        "text.mp4": ("failed", "unreadable"),
        "truncated.mkv": ("ok", "truncated"),
    }
    assert not list((store / "staging").rglob("*.h5"))
    assert "6 failed" in answer.out
    assert "empty" in answer.out
    assert "Download or copy it again" in answer.out, "each failure says what to do"

    files = sorted((store / "features").rglob("*.h5"))
    assert [file.parent.name for file in files] == [SPACES[0]] * 3 + [SPACES[1]] * 3
    with h5py.File(store / "features" / SPACES[0] / "shard-00000.h5") as file:
        rows = file["features/good one"][:]
    assert (rows.shape, rows.dtype) == ((1, 2048), np.float16)
    assert np.linalg.norm(rows.astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)
    assert FeatureStore(store).read(SPACES[1], "good one").shape == (2, 2048)

    status = reeldex("status", store, "--json", "--failures")
    assert status.status == 1
    assert status.json["failed_by_reason"] == {"no_video_stream": 1, "unreadable": 5}
    assert (status.json["videos_total"], status.json["ok"], status.json["truncated"]) == (9, 3, 1)
    assert {Path(each["path"]).name for each in status.json["failures"]} >= {"text.mp4", "truncated.mkv"}
    assert reeldex("verify", store).status == 0

    again = reeldex("extract", mixed_folder, "--store", store, *RANDOM, "--json")
    assert again.status == 1, "what failed before has no features still"
    assert (again.json["extracted_ok"], again.json["unchanged"], again.json["shards_done"]) == (0, 9, 0)


@pytest.mark.slow
def test_two_files_of_one_name_need_the_path_as_id(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    folder = tmp_path / "videos"
    make_video(folder / "p1" / "cut.mp4", seconds=0.5)
    make_video(folder / "p2" / "cut.mp4", seconds=0.5, picture="testsrc")
    by_name = ("--extractors", "resnet152", "--video-id", "stem")
    one_cut = reeldex("extract", folder, "--store", tmp_path / "stem", *RANDOM, *by_name)
    assert one_cut.status == 1
    assert "duplicate_id" in one_cut.out
    assert "--video-id path" in one_cut.out
    by_path = ("--extractors", "resnet152", "--video-id", "path")
    assert reeldex("extract", folder, "--store", tmp_path / "path", *RANDOM, *by_path).status == 0
    assert FeatureStore(tmp_path / "path").ids() == ["p1/cut.mp4", "p2/cut.mp4"]


@pytest.mark.slow
def test_export_and_import_keep_every_byte(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    store, copy = tmp_path / "store", tmp_path / "copy"
    make_video(tmp_path / "videos" / "a b.mp4", seconds=1.5)
    assert reeldex("extract", tmp_path / "videos", "--store", store, *RANDOM).status == 0
    assert reeldex("export", store, tmp_path / "npy").status == 0
    assert (
        np.load(tmp_path / "npy" / SPACES[1] / "a b.npy").tobytes()
        == FeatureStore(store).read(SPACES[1], "a b").tobytes()
    )
    imported = reeldex("import", tmp_path / "npy", copy, "--json")
    assert (imported.status, imported.json["imported"]) == (0, 1)
    # The copy knows the video and its settings: there is nothing to extract.
    again = reeldex("extract", tmp_path / "videos", "--store", copy, *RANDOM, "--json")
    assert (again.status, again.json["shards_done"]) == (0, 0)
    assert reeldex("export", copy, tmp_path / "npy2").status == 0
    for file in (tmp_path / "npy").rglob("*.npy"):
        assert (tmp_path / "npy2" / file.relative_to(tmp_path / "npy")).read_bytes() == file.read_bytes()
    for record in (tmp_path / "npy").rglob("features.json"):
        record.unlink()
    # No weights are there for the imported space, and none are needed where nothing is missing.
    (tmp_path / "npy").joinpath(SPACES[0]).rename(tmp_path / "npy" / "resnet152.imagenet1k_v1")
    assert reeldex("import", tmp_path / "npy", tmp_path / "published").status == 0
    assert reeldex("rerun", tmp_path / "published", "--json").json["shards_done"] == 0
    span = FeatureStore(copy).read_span(SPACES[1], "a b", 0.0, 0.7)
    assert len(span) == 2, "1.5 rows a second: rows 0 and 1"


def test_a_dry_run_counts_a_video_that_is_too_narrow_as_one_that_cannot_be_extracted(
    reeldex: Reeldex, make_video: MakeVideo, tmp_path: Path
) -> None:
    make_video(tmp_path / "w" / "a.mp4", size="1088x32")
    answer = reeldex("extract", tmp_path / "w", "--store", tmp_path / "store", "--dry-run")
    assert answer.status == 2
    assert "None of the 1 videos" in answer.err


@pytest.mark.slow
def test_a_dry_run_says_what_it_would_cost_and_makes_no_store(
    reeldex: Reeldex, tmp_path: Path, mixed_folder: Path
) -> None:
    answer = reeldex("extract", mixed_folder, "--store", tmp_path / "store", "--dry-run", "--json")
    assert answer.status == 0
    cost = answer.json
    assert (cost["videos"], cost["broken"]) == (3, 6)
    assert cost["seconds_of_video"] == pytest.approx(1.2 + 0.3 + 9.0, abs=0.2)
    assert cost["rows"] == {"resnet152": 1 + 1 + 9, "resnext101_3d": 2 + 1 + 14}
    assert cost["bytes_out"] == (11 + 17) * 2048 * 2
    assert cost["decode_seconds"] > 0
    assert cost["device_seconds"] > 0
    assert cost["total_seconds"] > cost["device_seconds"]
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_a_dry_run_counts_only_what_the_store_lacks_and_its_run_is_compared_with_it(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    folder, store = tmp_path / "videos", tmp_path / "store"
    folder.mkdir()
    make_video(folder / "a.mp4", seconds=2.0)
    asked = ("extract", folder, "--store", store, *RANDOM)
    assert reeldex(*asked, "--dry-run", "--json").json["videos"] == 1
    run = reeldex(*asked, "--verbose")
    assert run.status == 0
    assert re.search(r"estimate: \d+ s by --dry-run, actually \d+ s \(", run.out)
    nothing = reeldex(*asked, "--dry-run", "--json").json
    assert (nothing["videos"], nothing["broken"], nothing["total_seconds"]) == (0, 0, 0)
    make_video(folder / "b.mp4", seconds=3.0)
    more = reeldex(*asked, "--dry-run", "--json").json
    assert (more["videos"], more["rows"]["resnet152"]) == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("extract", "nowhere", "--store", "s"), "no file or folder 'nowhere'"),
        (("extract", "other", "--store", "s"), "no videos in the folder"),
        (("extract", "v.mp4", "--store", "s", "--extractors", "resnet151"), "Did you mean 'resnet152'?"),
        (("extract", "v.mp4", "--store", "s", *RANDOM, "--device", "cuda:99"), "Use --device cpu or auto"),
        (("extract", "v.mp4", "--store", "s", *RANDOM, "--device", "gpu"), "compute.device"),
        (
            ("extract", "v.mp4", "--store", "s", *RANDOM, "--precision", "bf16", "--device", "cpu"),
            "needs a CUDA device",
        ),
        (("extract", "v.mp4", "--store", "s", "--weights-file", "resnet152"), "EXTRACTOR=PATH"),
        (("extract", "v.mp4", "--store", "s", "--weights-file", "resnet152=no.pth"), "no.pth"),
        (("extract", "v.mp4", "--store", "other", *RANDOM), "other"),
        (("status", "nowhere"), "not a feature store"),
        (("verify", "other"), "not a feature store"),
        (("rerun", "nowhere"), "not a feature store"),
        (("rerun", "s", "--failed-videos", "--reason", "sulking"), "Reasons are: missing"),
        (("rerun", "s", "--reason", "timeout"), "requires --failed-videos"),
        (("export", "nowhere", "out"), "not a feature store"),
        (("import", "nowhere", "s"), "No such folder: 'nowhere'"),
        (("extract", "v.mp4", "--store", "s", "--config", "none.yaml"), "none.yaml"),
    ],
)
def test_wrong_use_is_said_at_once_with_status_2(reeldex: Reeldex, arguments: tuple[Any, ...], said: str) -> None:
    Path("v.mp4").write_bytes(b"")
    Path("other").mkdir()
    Path("other", "something").write_text("here", encoding="utf-8")
    answer = reeldex(*arguments)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("reeldex: ")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not Path("s").exists()


def test_absent_weights_without_network_name_the_file_and_the_way_out(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=0.2)
    # Nothing listens there, as on a machine without a network.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    Path("pipeline.yaml").write_text(f"weights: {{folder: {tmp_path}/cache}}\n", encoding="utf-8")
    answer = reeldex("extract", video, "--store", tmp_path / "store")
    assert answer.status == 2
    for said in ("resnet152-394f9c45.pth", f"{tmp_path}/cache", "--weights random"):
        assert said in answer.err
    listed = reeldex("weights", "list", "--json")
    assert listed.status == 1
    assert [row["state"] for row in listed.json["weights"]][:2] == ["missing", "missing"]


@pytest.mark.slow
def test_other_weights_do_not_mix_into_a_space(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    import torch

    from reeldex.extractors.registry import extractor

    folder, store = tmp_path / "videos", tmp_path / "store"
    make_video(folder / "a.mp4", seconds=0.2)
    network = extractor("wide2d").build()
    for name in ("first", "second"):
        torch.save(network.state_dict(), tmp_path / f"{name}.pth")
        with torch.no_grad():
            network.conv.weight.add_(1.0)  # type: ignore[operator, union-attr]
    run = ("extract", folder, "--store", store, "--extractors", "wide2d", "--weights-file")
    assert reeldex(*run, f"wide2d={tmp_path}/first.pth").status == 0
    make_video(folder / "b.mp4", seconds=0.2)
    answer = reeldex(*run, f"wide2d={tmp_path}/second.pth")
    assert answer.status == 2
    assert "weights" in answer.err
    assert FeatureStore(store).spaces() == ["wide2d.never_published"]
    assert FeatureStore(store).ids() == ["a"]


def test_a_second_run_says_who_holds_the_store(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    store = tmp_path / "store"
    make_video(tmp_path / "videos" / "a.mp4", seconds=0.2)
    with FeatureStore(store, create=True).lock():
        answer = reeldex("extract", tmp_path / "videos", "--store", store, *RANDOM, "--extractors", "wide2d")
    assert answer.status == 2
    assert str(os.getpid()) in answer.err
    assert FeatureStore(store).manifests() == ()


def test_a_run_is_skipped_waits_or_shares_as_it_was_told(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    store = tmp_path / "store"
    make_video(tmp_path / "videos" / "a.mp4", seconds=0.2)
    extract = ("extract", tmp_path / "videos", "--store", store, *RANDOM, "--extractors", "wide2d", "--json")
    with FeatureStore(store, create=True).join():
        skipped = reeldex(*extract, "--when-busy", "skip")
        assert skipped.status == 0
        assert "in use by process" in skipped.json["skipped"]
        late = reeldex(*extract, "--when-busy", "wait", "--wait", "0.3")
        assert late.status == 2
        assert "in use by process" in late.json["error"]
        assert FeatureStore(store).manifests() == ()
        shared = reeldex(*extract, "--when-busy", "share")
        assert shared.status == 0
        assert shared.json["extracted_ok"] == 1
        assert shared.json["shards_elsewhere"] == 0
        removed = reeldex("forget", store, "a")
        assert removed.status == 2
        assert "in use by process" in removed.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--when-busy", "wait"), "such as --wait 3600"),
        (("--when-busy", "skip", "--wait", "5"), "does not wait"),
        (("--when-busy", "fail", "--wait", "5"), "does not wait"),
        (("--when-busy", "queue"), "wait"),
    ],
)
def test_what_to_do_while_busy_is_checked_before_any_work(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo, options: tuple[str, ...], said: str
) -> None:
    make_video(tmp_path / "videos" / "a.mp4", seconds=0.2)
    answer = reeldex("extract", tmp_path / "videos", "--store", tmp_path / "store", *RANDOM, *options)
    assert answer.status == 2
    assert said in answer.err
    assert not (tmp_path / "store").exists()


def test_json_answers_an_error_too(reeldex: Reeldex) -> None:
    answer = reeldex("status", "nowhere", "--json")
    assert answer.status == 2
    assert answer.json["kind"] == "NotAStoreError"


def test_the_version_is_that_of_the_package() -> None:
    answer = subprocess.run([sys.executable, "-m", "reeldex", "--version"], capture_output=True, text=True, check=False)
    expected = f"reeldex {importlib.metadata.version('reeldex')}\n"
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, expected, "")


@pytest.mark.slow
def test_a_password_for_servers_of_ones_own_does_not_lock_a_command_out(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:mine")
    make_video(tmp_path / "videos" / "a.mp4", seconds=0.4)
    command = [sys.executable, "-m", "reeldex", "extract", str(tmp_path / "videos"), "--store", str(tmp_path / "s")]
    answer = subprocess.run(
        [*command, "--weights", "random", "--extractors", "wide2d"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
