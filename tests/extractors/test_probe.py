"""What ffmpeg says of real files, good, broken and odd, and how its words are read."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from reeldex.extractors import ffmpeg
from reeldex.extractors.description import parse_description
from reeldex.extractors.errors import FailureReason, ProbeError
from reeldex.extractors.frames import VideoMetadata
from reeldex.extractors.probe import probe
from tests.conftest import MakeVideo
from tests.extractors.rotation import write_rotated
from tests.videos import run_ffmpeg


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> Path:
    return make_video(tmp_path_factory.mktemp("probe") / "plain.mp4", seconds=2, size="320x180")


def description(path: Path) -> str:
    """What ffmpeg itself prints of a file, its name taken out."""
    command = [ffmpeg.executable(), "-hide_banner", "-nostdin", "-i", str(path)]
    return subprocess.run(command, capture_output=True, check=False).stderr.decode().replace(str(path), "INPUT")


def failure(path: Path | str, timeout_seconds: float = 60.0) -> ProbeError:
    with pytest.raises(ProbeError) as raised:
        probe(str(path), timeout_seconds)
    assert raised.value.path == str(path)
    assert raised.value.what_to_do in str(raised.value)
    return raised.value


def test_a_file_is_described(plain: Path) -> None:
    found = probe(str(plain))
    assert found == VideoMetadata(
        container="mov,mp4,m4a,3gp,3g2,mj2",
        codec="h264",
        width=320,
        height=180,
        rotation_degrees=0.0,
        frames_per_second=25.0,
        duration_seconds=2.0,
        pixel_format="yuv420p",
    )
    assert parse_description("x", description(plain)) == found


@pytest.mark.parametrize(
    ("cut", "put", "field", "value"),
    [
        ("25 fps", "23.98 fps", "frames_per_second", 23.98),
        ("25 fps", "1k fps", "frames_per_second", 1000.0),
        (" 25 fps,", "", "frames_per_second", None),
        ("Duration: 00:00:02.00", "Duration: 01:01:01.25", "duration_seconds", 3661.25),
        ("Duration: 00:00:02.00", "Duration: N/A", "duration_seconds", None),
        ("320x180 [SAR 1:1 DAR 16:9]", "320x180", "width", 320),
        ("320x180 [SAR 1:1 DAR 16:9],", "321x7,", "height", 7),
        ("  Stream #0:0", "    Stream #0:0", "codec", "h264"),
    ],
)
def test_variants_of_a_description_are_read(plain: Path, cut: str, put: str, field: str, value: object) -> None:
    text = description(plain)
    assert cut in text
    assert getattr(parse_description("x", text.replace(cut, put)), field) == value


@pytest.mark.parametrize(
    ("side_data", "degrees", "display"),
    [
        ("    Side data:\n      Display Matrix: rotation of -90.00 degrees\n", -90.0, (320, 180)),
        ("    Side data:\n      displaymatrix: rotation of 180.00 degrees\n", 180.0, (180, 320)),
        ("    Side data:\n      Display Matrix: rotation of 269.99 degrees\n", 269.99, (320, 180)),
        ("    Metadata:\n      title           : rotation of 90.00 degrees\n", 0.0, (180, 320)),
        ("  Stream #0:1: Video: h264, yuv420p, 8x8\n    Display Matrix: rotation of 90.00 degrees\n", 0.0, (180, 320)),
    ],
)
def test_a_rotation_is_that_of_the_stream_itself(
    plain: Path, side_data: str, degrees: float, display: tuple[int, int]
) -> None:
    head, _, _ = description(plain).partition("    Metadata:\n      handler_name")
    found = parse_description("x", head + side_data)
    assert found.rotation_degrees == degrees
    assert found.display_size == display


def test_a_rotated_file_is_described_as_it_is_shown(plain: Path, tmp_path: Path) -> None:
    rotated = write_rotated(plain, tmp_path / "rotated.mp4")
    found = probe(str(rotated))
    assert (found.width, found.height, found.rotation_degrees) == (320, 180, 90.0)
    assert found.display_size == (320, 180)


def test_tags_that_look_like_streams_are_not_taken_for_them(plain: Path, tmp_path: Path) -> None:
    tagged = tmp_path / "tagged.mkv"
    fake = "x\n  Stream #0:0: Video: fake, 8x8, 1 fps\n  Duration: 09:00:00.00"
    run_ffmpeg(
        "-i", str(plain), "-c", "copy", "-metadata", f"title={fake}", "-metadata", f"Duration={fake}", str(tagged)
    )
    found = probe(str(tagged))
    assert (found.codec, found.width, found.duration_seconds) == ("h264", 320, 2.0)


def test_a_name_that_looks_like_a_stream_is_not_taken_for_one(plain: Path, tmp_path: Path) -> None:
    odd = tmp_path / "x\n  Stream #0:0: Video: fake, 8x8, 1 fps\n  Duration: 09:00:00.00.mp4"
    odd.write_bytes(plain.read_bytes())
    assert probe(str(odd)) == probe(str(plain))


def test_a_raw_stream_does_not_say_how_long_it_is(plain: Path, tmp_path: Path) -> None:
    run_ffmpeg("-i", str(plain), "-c", "copy", str(tmp_path / "raw.h264"))
    found = probe(str(tmp_path / "raw.h264"))
    assert found.duration_seconds is None
    assert (found.container, found.codec, found.width) == ("h264", "h264", 320)


def test_what_is_no_file_with_something_in_it_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    assert failure(tmp_path / "absent.mp4").reason is FailureReason.MISSING
    assert failure(tmp_path / "dangling.mp4").reason is FailureReason.MISSING
    assert failure(tmp_path / "empty.mp4" / "below.mp4").reason is FailureReason.UNREADABLE
    for name, words in (("empty.mp4", "0 bytes"), ("folder.mp4", "not a regular"), ("pipe.mp4", "not a regular")):
        found = failure(tmp_path / name)
        assert found.reason is FailureReason.UNREADABLE
        assert words in str(found)


def test_a_socket_is_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may only be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.mp4")
        assert failure("socket.mp4").reason is FailureReason.UNREADABLE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(plain: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed.mp4"
    closed.write_bytes(plain.read_bytes())
    closed.chmod(0)
    found = failure(closed)
    assert found.reason is FailureReason.UNREADABLE
    assert "ermission" in str(found)


def test_a_file_that_is_no_video_is_unreadable(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("These are words. " * 100)
    (tmp_path / "cut.mp4").write_bytes(plain.read_bytes()[: plain.stat().st_size // 2])
    for name in ("text.mp4", "cut.mp4"):
        found = failure(tmp_path / name)
        assert found.reason is FailureReason.UNREADABLE
        assert "it said:" in str(found)
        assert "0x" not in str(found), "addresses differ from run to run"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sound.mp4", "sound.wav", "sound.mkv"])
def test_sound_alone_has_no_video_stream(tmp_path: Path, name: str) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", str(tmp_path / name))
    found = failure(tmp_path / name)
    assert found.reason is FailureReason.NO_VIDEO_STREAM
    assert "audio or data" in str(found)


def test_a_script_that_names_other_files_is_called_that(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "script.mp4").write_text(f"ffconcat version 1.0\nfile '{plain}'\n")
    found = failure(tmp_path / "script.mp4")
    assert found.reason is FailureReason.UNREADABLE
    assert "refers to other files" in str(found)


def test_a_probe_takes_no_longer_than_it_may(plain: Path) -> None:
    found = failure(plain, timeout_seconds=1e-4)
    assert found.reason is FailureReason.TIMEOUT
    assert "limits.timeout_seconds" in str(found)


def test_an_ffmpeg_that_is_killed_does_not_make_the_file_unreadable(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stands in for the kernel's killing when memory runs out.
    dying = tmp_path / "ffmpeg"
    dying.write_text("#!/bin/sh\nkill -9 $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(dying))
    found = failure(plain)
    assert found.reason is FailureReason.DECODE_ERROR
    assert "signal 9" in str(found)


def test_a_title_about_memory_is_no_lack_of_memory(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Out of memory"
    folder.mkdir()
    titled = folder / "titled.mp4"
    run_ffmpeg("-i", str(plain), "-c", "copy", "-metadata", "title=Out of memory", str(titled))
    assert probe(str(titled)).width == 320
    titled.write_bytes(titled.read_bytes()[:2000])
    with pytest.raises(ProbeError) as raised:
        probe(str(titled))
    assert raised.value.reason == FailureReason.UNREADABLE
