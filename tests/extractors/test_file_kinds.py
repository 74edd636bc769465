"""Files that are not videos are named for what they are, and sequences of pictures are decoded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from reeldex.extractors import ffmpeg, resnet152, resnext101
from reeldex.extractors.decode import decode
from reeldex.extractors.errors import FailureReason, ProbeError
from reeldex.extractors.file_kinds import excluded_format, is_animated_webp
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoSource
from reeldex.extractors.jpeg_files import contains_several_pictures
from reeldex.extractors.options import DecodeLimits
from reeldex.extractors.probe import probe
from tests.videos import cached_video

SPECS = [resnet152.SPEC, resnext101.SPEC]


def make(path: Path, *output: str, seconds: float = 2, frames: int | None = None) -> Path:
    some = [] if frames is None else ["-frames:v", str(frames)]
    source = ["-f", "lavfi", "-i", f"testsrc2=size=320x240:rate=25:duration={seconds}"]
    return cached_video(path, *source, *some, *output)


@pytest.fixture
def jpeg(tmp_path: Path) -> bytes:
    return make(tmp_path / "one.jpg", "-f", "mjpeg", frames=1).read_bytes()


def refusal(path: Path) -> ProbeError:
    with pytest.raises(ProbeError) as raised:
        probe(str(path))
    assert raised.value.what_to_do in str(raised.value)
    assert "playlist" not in str(raised.value)
    return raised.value


def frame_counts(path: Path) -> tuple[list[int], DecodeSummary]:
    counts, summary = dict.fromkeys((spec.name for spec in SPECS), 0), None
    for item in decode(VideoSource("video", str(path)), SPECS, DecodeLimits()):
        if isinstance(item, FrameBatch):
            counts[item.extractor] += len(item.frames)
            assert item.frames.std() > 50, "the frames show the test picture"
        else:
            summary = item
    assert isinstance(summary, DecodeSummary)
    return list(counts.values()), summary


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "name"), [("mjpeg", "JPEG"), ("png", "PNG"), ("bmp", "BMP"), ("tiff", "TIFF"), ("libwebp", "WebP")]
)
@pytest.mark.parametrize("suffix", [".mp4", ".jpg", ".mjpeg"])
def test_a_picture_is_called_a_picture(tmp_path: Path, codec: str, name: str, suffix: str) -> None:
    picture = tmp_path / f"photo{suffix}"
    picture.write_bytes(make(tmp_path / "made", "-c:v", codec, "-f", "image2", "-update", "1", frames=1).read_bytes())
    found = refusal(picture)
    assert found.reason is FailureReason.NO_VIDEO_STREAM
    assert f"still picture ({name})" in str(found)


@pytest.mark.parametrize(
    "text",
    [
        "1\n00:00:01,000 --> 00:00:02,000\nWords\n\n2\n00:00:03,000 --> 00:00:04,000\nMore\n",
        "WEBVTT\n\n00:00.000 --> 00:01.000\nWords\n",
        "[Script Info]\nScriptType: v4.00+\n[Events]\n",
    ],
)
def test_subtitles_are_called_subtitles(tmp_path: Path, text: str) -> None:
    (tmp_path / "words.mp4").write_text(text)
    found = refusal(tmp_path / "words.mp4")
    assert found.reason is FailureReason.UNREADABLE
    assert "contains subtitles" in str(found)
    assert "no video" in str(found)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n" * 40, "an HTML page"),
        (b'{"error": "not found"}', "JSON text"),
        (b"%PDF-1.7\n" + bytes(3000), "a PDF document"),
        (b"\x1f\x8b\x08" + bytes(3000), "a gzip archive"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "download.mp4").write_bytes(content)
    assert f"The file is {kind}, not a video" in str(refusal(tmp_path / "download.mp4"))


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile 'x.mp4'\n", "#EXTM3U\n#EXTINF:1,\nx.ts\n", "#EXTM3U\nx\n"]
)
def test_playlists_and_scripts_stay_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(ProbeError, match="refers to other files") as raised:
        probe(str(tmp_path / "list.mp4"))
    assert raised.value.reason is FailureReason.UNREADABLE


def test_a_name_like_a_pattern_is_not_followed(tmp_path: Path) -> None:
    for at in range(3):
        make(tmp_path / f"{at:03d}.png", "-f", "image2", "-update", "1", frames=1)
    pattern = tmp_path / "%03d.png"
    pattern.write_bytes((tmp_path / "000.png").read_bytes())
    assert "Rename the file" in str(refusal(pattern))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("motion.mjpeg", ("-c:v", "mjpeg", "-f", "mjpeg")),
        ("motion.mp4", ("-c:v", "mjpeg", "-f", "mjpeg")),
        ("multipart.mjpeg", ("-c:v", "mjpeg", "-f", "mpjpeg")),
        ("moving.gif", ("-f", "gif")),
        ("moving.png", ("-f", "apng", "-plays", "0")),
    ],
)
def test_moving_pictures_are_decoded(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    counts, summary = frame_counts(make(tmp_path / name, *options))
    assert counts == [2, 48]
    assert (summary.truncated, summary.error_count) == (False, 0)


def test_the_pictures_of_motion_jpeg_are_those_of_the_same_stream_in_a_container(tmp_path: Path) -> None:
    raw = make(tmp_path / "raw.mjpeg", "-c:v", "mjpeg", "-f", "mjpeg")
    wrapped = tmp_path / "wrapped.mkv"
    command = [ffmpeg.executable(), "-v", "error", "-f", "mjpeg", "-i", str(raw), "-c", "copy", str(wrapped)]
    subprocess.run(command, check=True)
    first, second = (
        np.concatenate(
            [
                each.frames
                for each in decode(VideoSource("v", str(path)), SPECS[:1], DecodeLimits())
                if isinstance(each, FrameBatch)
            ]
        )
        for path in (raw, wrapped)
    )
    assert np.array_equal(first, second)


def test_an_animated_webp_is_decoded_or_named(tmp_path: Path) -> None:
    moving = make(tmp_path / "moving.webp", "-c:v", "libwebp_anim", "-f", "webp")
    listed = subprocess.run([ffmpeg.executable(), "-hide_banner", "-demuxers"], capture_output=True, check=True)
    if b"webp_anim" in listed.stdout:
        assert frame_counts(moving)[0] == [2, 48]
        return
    found = refusal(moving)
    assert found.reason is FailureReason.UNREADABLE
    assert "animated WebP" in str(found)
    assert ffmpeg.version() in str(found)


def test_animation_is_a_flag_of_a_webp() -> None:
    head = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0"
    assert is_animated_webp(head + b"\x02")
    assert not is_animated_webp(head + b"\x10")
    assert not is_animated_webp(head)
    assert not is_animated_webp(b"RIFF\0\0\0\0WEBPVP8 \x0a\0\0\0\x02")


def test_an_unknown_format_is_named() -> None:
    assert "(libgme)" in str(excluded_format("x", "libgme", b"", "9.0"))


@pytest.mark.parametrize(
    ("between", "several"),
    [
        (b"", True),
        (b"\0\0\0", True),
        (b"\r\n--boundary\r\nContent-Type: image/jpeg\r\n\r\n", True),
        (b"\0" * 5000, False),
    ],
)
def test_jpeg_pictures_in_a_row_are_motion_jpeg(tmp_path: Path, jpeg: bytes, between: bytes, *, several: bool) -> None:
    (tmp_path / "two").write_bytes(jpeg + between + jpeg)
    assert contains_several_pictures(str(tmp_path / "two")) == several


def test_what_a_photo_contains_or_is_followed_by_does_not_count(tmp_path: Path, jpeg: bytes) -> None:
    preview = b"\xff\xe1" + (len(jpeg) + 2).to_bytes(2, "big") + jpeg
    announced = b"\xff\xe2\x00\x08MPF\0\0\0"
    movie = make(tmp_path / "movie.mp4", frames=5).read_bytes()
    photos = {
        "one": jpeg,
        "cut": jpeg[: len(jpeg) // 2],
        "with a preview": jpeg[:2] + preview + jpeg[2:],
        "with a gain map": jpeg[:2] + announced + jpeg[2:] + jpeg,
        "with a movie": jpeg + movie,
    }
    for name, content in photos.items():
        (tmp_path / name).write_bytes(content)
        assert not contains_several_pictures(str(tmp_path / name)), name


def test_motion_jpeg_whose_first_picture_is_cut_is_still_motion_jpeg(tmp_path: Path, jpeg: bytes) -> None:
    (tmp_path / "damaged").write_bytes(jpeg[: len(jpeg) // 2] + jpeg)
    assert contains_several_pictures(str(tmp_path / "damaged"))
