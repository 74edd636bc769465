"""Each ffmpeg ends with its parent, and has a memory limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reeldex.extractors import ffmpeg, ffmpeg_process, resnet152, resnext101
from reeldex.extractors.decode import decode
from reeldex.extractors.errors import ExtractionError, FailureReason, FfmpegNotFoundError
from reeldex.extractors.ffmpeg_process import decoder_threads, says_out_of_memory
from reeldex.extractors.frames import VideoSource
from reeldex.extractors.options import DecodeLimits
from reeldex.extractors.probe import probe
from reeldex.extractors.thumbnail import thumbnail
from tests.conftest import MakeVideo
from tests.processes import processes_that_name
from tests.videos import cached_video
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]

DECODE = """
import sys, time
from reeldex.extractors import resnet152
from reeldex.extractors.decode import decode
from reeldex.extractors.options import DecodeLimits
from reeldex.extractors.frames import VideoSource
items = decode(VideoSource("video", sys.argv[1]), [resnet152.SPEC], DecodeLimits(), chunk_bytes=1)
next(items)
print("decoding", flush=True)
time.sleep(1000)
"""


def ended(process: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.mark.slow
def test_a_killed_parent_takes_its_ffmpeg_along(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=60)
    parent = subprocess.Popen([sys.executable, "-c", DECODE, str(video)], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"decoding\n"
        children = [process for process in processes_that_name(str(video)) if process != parent.pid]
        assert len(children) == 1
        os.kill(children[0], signal.SIGSTOP)  # it writes nothing, and so never detects that its reader is gone
    finally:
        parent.kill()
        parent.communicate()
    try:
        wait_until(lambda: ended(children[0]), 10, details=lambda: "ffmpeg outlived its parent")
    finally:
        if not ended(children[0]):
            os.kill(children[0], signal.SIGKILL)


def test_a_command_limits_the_address_space() -> None:
    command = [*ffmpeg_process.command(1 << 30)[:-1], "sh", "-c", "ulimit -v; echo $MALLOC_ARENA_MAX"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == [str(1 << 20), "2"]


def test_a_lower_limit_of_the_machine_stays(tmp_path: Path) -> None:
    script = (
        "import resource, subprocess\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from reeldex.extractors import ffmpeg_process\n"
        "command = [*ffmpeg_process.command(4 << 30)[:-1], 'sh', '-c', 'ulimit -v']\n"
        "print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.split() == [str(2 << 20)]


@pytest.mark.slow
def test_a_video_that_needs_more_memory_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One picture of 216 MB.
    source = ["-f", "lavfi", "-i", "color=red:size=6000x6000", "-frames:v", "1", "-pix_fmt", "gbrp16le", "-c:v", "ffv1"]
    video = cached_video(tmp_path / "large.mkv", *source)
    # Known beforehand, so that the limit strikes in the decoding and not already in the probing.
    metadata = probe(str(video))
    monkeypatch.setattr("reeldex.extractors.decode.probe", lambda *_: metadata)
    with pytest.raises(ExtractionError) as raised:
        list(decode(VideoSource("a", str(video)), [resnet152.SPEC], DecodeLimits(ffmpeg_memory_bytes=280 << 20)))
    assert raised.value.reason is FailureReason.TOO_LARGE
    assert "293,601,280 bytes" in str(raised.value)
    assert "limits.ffmpeg_memory_bytes" in str(raised.value)
    assert list(decode(VideoSource("a", str(video)), [resnet152.SPEC], DecodeLimits()))


@pytest.mark.slow
def test_every_ffmpeg_has_the_limits(tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    # Records its arguments and its memory limit, then does its work.
    noting = tmp_path / "ffmpeg"
    noted = tmp_path / "noted"
    noting.write_text(f'#!/bin/sh\necho "$(ulimit -v) $*" >> "{noted}"\nexec "{ffmpeg.executable()}" "$@"\n')
    noting.chmod(0o755)
    ffmpeg.passthrough_option()
    ffmpeg.unbuffered_print_option()
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(noting))
    limits = DecodeLimits(ffmpeg_memory_bytes=1 << 30, max_frame_pixels=1_000_000)
    list(decode(VideoSource("a", str(video)), [resnet152.SPEC, resnext101.SPEC], limits))
    thumbnail(str(video), 0.0, limits=limits)
    reported = noted.read_text().splitlines()
    assert len(reported) == 4, "probe and decode; probe and thumbnail"
    for line in reported:
        assert line.startswith(f"{1 << 20} ")
        assert " -max_pixels 3048576 " in line


@pytest.mark.slow
def test_a_frame_far_over_the_limit_is_called_too_large(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "large.mp4", seconds=0.1, size="2560x1440")
    with pytest.raises(ExtractionError) as raised:
        list(decode(VideoSource("a", str(video)), [resnet152.SPEC], DecodeLimits(max_frame_pixels=100)))
    assert raised.value.reason is FailureReason.TOO_LARGE
    assert "limits.max_frame_pixels" in str(raised.value)


def test_the_tests_use_one_ffmpeg_on_every_machine() -> None:
    if chosen := os.environ.get("FFMPEG"):
        expected = Path(chosen) / "ffmpeg"
    else:
        import imageio_ffmpeg

        expected = Path(imageio_ffmpeg.get_ffmpeg_exe())
    assert Path(ffmpeg.executable()).resolve() == expected.resolve()


def test_a_folder_without_ffmpeg_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", __file__]
    ended = subprocess.run(
        command, env={**os.environ, "FFMPEG": str(tmp_path)}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"FFMPEG names the folder {tmp_path}, which has no program ffmpeg." in ended.stderr


def test_without_the_programs_that_guard_it_ffmpeg_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg_process._program.cache_clear()
    ffmpeg_process._parent_watchdog.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FfmpegNotFoundError, match="util-linux"):
        ffmpeg_process.command()


@pytest.mark.parametrize(
    ("width", "height", "memory", "threads"),
    [
        (1920, 1080, 4 << 30, range(100, 400)),
        (3840, 2160, 4 << 30, range(16, 100)),
        (7680, 4320, 4 << 30, range(4, 16)),
        (8192, 8192, 4 << 30, range(1, 2)),
        (8192, 8192, 1 << 30, range(1, 2)),
    ],
)
def test_threads_fit_in_memory(width: int, height: int, memory: int, threads: range) -> None:
    assert decoder_threads(width, height, memory) in threads


@pytest.mark.parametrize(
    ("said", "memory"),
    [
        ("Error submitting packet to decoder: Cannot allocate memory", True),
        ("error while loading shared libraries: libx.so.5: failed to map segment from shared object", True),
        ("Error initializing a thread: Resource temporarily unavailable", True),
        ("Invalid NAL unit size (0 > 12)", False),
    ],
)
def test_what_is_said_of_memory_is_understood(said: str, *, memory: bool) -> None:
    assert says_out_of_memory(said) is memory


def test_an_ffmpeg_is_read_in_the_thread_that_started_it(tmp_path: Path, make_video: MakeVideo) -> None:
    # As the engine does: it would be killed with a thread that only started it.
    video = make_video(tmp_path / "a.mp4", seconds=2)
    frames: list[int] = []

    def work() -> None:
        items = decode(VideoSource("a", str(video)), [resnet152.SPEC], DecodeLimits())
        frames.extend(len(item.frames) for item in items if hasattr(item, "frames"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert sum(frames) == 2


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("[h264 @ 0x1] get_buffer() failed: Cannot allocate memory", True),
        ("Error while decoding: Out of memory.", True),
        ("ffmpeg: error while loading shared libraries: libx.so: failed to map segment from shared object", True),
        ("file:/videos/Out of memory/a.mp4: Invalid data found when processing input", False),
        ("    comment : how to get out of memory trouble", False),
    ],
)
def test_a_lack_of_memory_is_told_from_names_that_say_so(said: str, means: bool) -> None:  # noqa: FBT001
    assert says_out_of_memory(said) is means


def test_a_path_of_ffmpeg_may_hold_an_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a=b"
    folder.mkdir()
    (folder / "ffmpeg").symlink_to(ffmpeg.executable())
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(folder / "ffmpeg"))
    answer = subprocess.run([*ffmpeg_process.command(), "-version"], capture_output=True, check=True)
    assert answer.stdout.startswith(b"ffmpeg version")
