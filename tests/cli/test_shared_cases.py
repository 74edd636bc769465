"""Small inputs that once failed, with the right answer, through the command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reeldex.extractors import resnet152
from reeldex.extractors.decode import decode
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoSource
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.options import DecodeLimits, DecodeOptions
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo, Reeldex
from tests.flows.stores import RANDOM

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are outside this repository")
_FAST = (*RANDOM, "--extractors", "wide2d")


@pytest.mark.slow
def test_files_without_video_are_named_for_what_they_are_and_motion_jpeg_is_video(
    reeldex: Reeldex, tmp_path: Path
) -> None:
    videos, store = tmp_path / "videos", tmp_path / "store"
    videos.mkdir()
    for case in CASES.glob("refused__*"):
        shutil.copy(case, videos)
    assert reeldex("extract", videos, "--store", store, *_FAST).status == 1
    opened = FeatureStore(store)
    (space,) = opened.spaces()
    assert len(opened.read(space, "refused__motion-jpeg")) == 2
    photo, subtitles = opened.outcome("refused__photo-named"), opened.outcome("refused__subtitles-named")
    assert photo is not None
    assert photo.reason == "no_video_stream"
    assert "a still picture (JPEG)" in photo.message
    assert subtitles is not None
    assert subtitles.reason == "unreadable"
    assert "subtitles" in subtitles.message
    assert not any("playlist" in each.message for each in (photo, subtitles))


def _frames(
    name: str, options: DecodeOptions
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], DecodeSummary]:
    source = VideoSource(name, str(CASES / name))
    *batches, summary = decode(source, [resnet152.SPEC], DecodeLimits(), options=options)
    assert isinstance(summary, DecodeSummary)
    return np.concatenate([each.frames for each in batches if isinstance(each, FrameBatch)]).astype(float), summary


@pytest.mark.slow
def test_hdr_is_marked_and_near_the_same_picture_without_it_once_mapped() -> None:
    expected, summary = _frames("colour__sdr.mp4", DecodeOptions())
    assert NoteKind.HDR not in summary.notes
    plain, summary = _frames("colour__hdr-pq.mp4", DecodeOptions())
    assert NoteKind.HDR in summary.notes
    assert plain.std() < 0.5 * expected.std(), "flat, as the published extractor sees it"
    mapped, _ = _frames("colour__hdr-pq.mp4", DecodeOptions(tone_map=True))
    assert abs(mapped.mean() - expected.mean()) < 10
    assert mapped.std() > 0.8 * expected.std()


@pytest.mark.slow
def test_a_linked_folder_is_searched_and_a_loop_is_not(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "v.mp4", seconds=0.5)
    made = tmp_path / "made"
    subprocess.run(["/bin/bash", str(CASES / "scan_symlinked_folder.sh"), str(video), str(made)], check=True)
    answer = reeldex("extract", made / "root", "--store", tmp_path / "store", *_FAST)
    assert answer.status == 0
    assert sorted(FeatureStore(tmp_path / "store").ids()) == ["a", "inlink"]
    assert "loop" in answer.out + answer.err


@pytest.mark.slow
@pytest.mark.parametrize("order", [(), ("first",)])
def test_a_store_and_plain_h5py_read_the_same_file_in_one_process(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo, order: tuple[str, ...]
) -> None:
    video, store = make_video(tmp_path / "videos/v.mp4", seconds=2), tmp_path / "store"
    assert reeldex("extract", video, "--store", store, *_FAST).status == 0
    script = (CASES / "store_and_h5py_in_one_process.py").read_text("utf-8")
    script = script.replace("from storage.store", "from reeldex.storage.store")
    command = [sys.executable, "-c", script, str(store), *order]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["(2, 2048)"] * 2, done.stderr
