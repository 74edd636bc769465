"""Files that one ffmpeg describes together are described as each is alone, which is the slow twin."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reeldex.extractors import decoders, ffmpeg, ffmpeg_process
from reeldex.extractors.decoders import Decoders
from reeldex.extractors.errors import ExtractionError
from reeldex.extractors.frames import DecodeSummary, ExtractionFailure, VideoMetadata, VideoSource
from reeldex.extractors.input_descriptions import Description, describe, describe_together
from reeldex.extractors.options import DecodeLimits, EngineOptions
from reeldex.extractors.probe import probe
from reeldex.extractors.work_times import WorkTimes
from tests.conftest import MakeVideo
from tests.networks.reeldex_test_networks import TINY_2D
from tests.videos import run_ffmpeg

LIMITS = DecodeLimits()
SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def probed(path: str, description: Description | None) -> VideoMetadata | str:
    try:
        return probe(path, description=description)
    except ExtractionError as error:
        return f"{error.reason}: {error}"


def differ(found: dict[str, Description]) -> list[str]:
    """Return the files whose description differs from that of the file alone, apart from how ffmpeg ends."""

    def description(text: str) -> str:
        return text.partition("At least one output")[0].strip()

    return [path for path, each in found.items() if description(each.text) != description(describe(path, LIMITS, 60))]


def counting_processes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return a list that each process which describes files is added to, by its arguments."""
    run, started = subprocess.run, []

    def counted(command: list[str], **options: object) -> object:
        if "-i" in command:
            started.append(command)
        return run(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", counted)
    return started


def names(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.mark.slow
def test_descriptions_are_those_of_each_file_alone(mixed_folder: Path, make_video: MakeVideo) -> None:
    make_video(mixed_folder / "a b'c, from 'd':.mp4")
    for number in range(3):
        shutil.copy(mixed_folder / "good one.mp4", mixed_folder / f"copy {number}.mp4")
    shutil.copy(mixed_folder / "good one.mp4", mixed_folder / "copy 0.mp4.mp4")
    shutil.copy(mixed_folder / "good one.mp4", mixed_folder / "Input #1\nStream #0:1.mp4")
    shutil.copy(mixed_folder / "good one.mp4", mixed_folder / os.fsdecode(b"latin\xe9.mp4"))
    paths = names(mixed_folder)
    found = describe_together(paths, LIMITS)
    assert differ(found) == []
    alone = {Path(path).name for path in paths if path not in found}
    # Each broken file, and what ffmpeg would have described after one with messages, is left to be described alone.
    assert {"copy 0.mp4", "copy 0.mp4.mp4", "copy 1.mp4"} <= {Path(path).name for path in found}
    assert {"empty.mp4", "text.mp4", "cut off.mp4", "playlist.mp4", "pipe.mp4", "Input #1\nStream #0:1.mp4"} <= alone
    for path in paths:
        assert probed(path, found.get(path)) == probed(path, None)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["videos", "cases"])
def test_real_files_are_probed_the_same_way(folder: str) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"there is no {SHARED / folder}")
    kinds = {".mp4", ".mkv", ".mov", ".webm", ".ts", ".avi", ".mpg", ".gif", ".flv", ".jpg", ".mjpeg"}
    paths = [str(path) for path in sorted((SHARED / folder).rglob("*")) if path.suffix in kinds]
    found = describe_together(paths, LIMITS)
    assert found
    for path in paths:
        assert probed(path, found.get(path)) == probed(path, None)


@pytest.mark.slow
def test_one_process_describes_many_files(mixed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = str(mixed_folder / "good one.mp4")
    links = [str(mixed_folder / f"{number}.mp4") for number in range(12)]
    for link in links:
        os.link(good, link)
    started = counting_processes(monkeypatch)
    found = describe_together(links, LIMITS)
    assert (len(started), sorted(found)) == (1, sorted(links))
    assert probed(links[5], found[links[5]]) == probed(links[5], found[links[0]])
    assert len(started) == 1, "no probe needed a process of its own"


@pytest.mark.slow
def test_files_after_one_that_cannot_be_opened_are_described_too(
    mixed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = mixed_folder / "good one.mp4"
    text, paths = str(mixed_folder / "text.mp4"), [str(mixed_folder / f"{number}.mp4") for number in range(6)]
    for path in paths:
        os.link(good, path)
    started = counting_processes(monkeypatch)
    found = describe_together([*paths[:3], text, *paths[3:]], LIMITS)
    # The message about the broken file may be one about the file before it.
    assert sorted(found) == [each for each in paths if each != paths[2]]
    assert len(started) == 2


def test_a_file_that_has_changed_is_described_again(tmp_path: Path, make_video: MakeVideo) -> None:
    paths = [str(make_video(tmp_path / f"{name}.mp4")) for name in "ab"]
    found = describe_together(paths, LIMITS)
    make_video(Path(paths[0]), size="96x64")
    assert probe(paths[0], description=found[paths[0]]).width == 96
    Path(paths[1]).unlink()
    assert str(probed(paths[1], found[paths[1]])).startswith("missing: ")


def test_a_description_that_a_killed_process_was_printing_is_not_used(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(make_video(tmp_path / f"{name}.mp4")) for name in "abc"]
    command = ffmpeg_process.command
    inputs = [each for path in paths for each in ("-i", f"file:{path}")]
    printed = subprocess.run([ffmpeg.executable(), "-hide_banner", *inputs], capture_output=True, check=False).stderr
    cut = printed.index(b"Duration", printed.index(b"Input #1"))
    # Nobody can aim at the moment: the shell passes on what ffmpeg had printed by then, and dies.
    killed = ["sh", "-c", f'"$@" 2>&1 | head -c {cut} >&2; kill -9 $$', "sh"]
    monkeypatch.setattr(ffmpeg_process, "command", lambda memory_bytes: [*killed, *command(memory_bytes)])
    assert list(describe_together(paths, LIMITS)) == paths[:1]


@pytest.mark.slow
def test_a_file_cannot_speak_for_another(tmp_path: Path, make_video: MakeVideo) -> None:
    plain = make_video(tmp_path / "plain.mp4")
    titles = [
        "Stream #0:7: Video: h264, yuv420p, 9x9",
        "x\nInput #1, mov, from 'INPUT':\n  Stream #1:0: Video: h264, 8x8",
    ]
    paths = [str(plain)]
    for number, title in enumerate(titles):
        paths.append(str(tmp_path / f"forged {number}.mkv"))
        run_ffmpeg("-i", plain, "-c", "copy", "-metadata", f"title={title}", paths[-1])
    for order in (paths, paths[::-1]):
        found = describe_together(order, LIMITS)
        assert all(probed(path, found.get(path)) == probed(path, None) for path in order)
        assert differ(found) == []


@pytest.mark.slow
def test_decoders_describe_small_files_together_and_large_ones_alone(
    mixed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = mixed_folder / "good one.mp4"
    sources = []
    for number in range(20):
        os.link(good, mixed_folder / f"{number}.mp4")
        sources.append(VideoSource(str(number), str(mixed_folder / f"{number}.mp4")))

    def processes(count: int) -> int:
        started = counting_processes(monkeypatch)
        with Decoders(sources, [TINY_2D], EngineOptions(), count=count, times=WorkTimes()) as running:
            summaries = 0
            while running.running:
                if (message := running.next_message()) is None:
                    continue
                assert not isinstance(message.content, ExtractionFailure | BaseException)
                summaries += isinstance(message.content, DecodeSummary)
        assert summaries == 20
        return len(started)

    together = processes(2)
    assert together <= 13, "the last ones are shared out one by one, so that all decoders end together"
    monkeypatch.setattr(decoders, "_SMALL_BYTES", 0)
    assert processes(2) == 20


def test_decoders_report_a_fault_of_the_machine_that_hits_describing(
    mixed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [VideoSource(str(number), str(mixed_folder / "good one.mp4")) for number in range(8)]

    def full(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(subprocess, "run", full)
    with Decoders(sources, [TINY_2D], EngineOptions(), count=1, times=WorkTimes()) as running:
        message = running.next_message()
    assert message is not None
    assert isinstance(message.content, OSError)
