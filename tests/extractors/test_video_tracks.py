"""Which video track is decoded, where it is found, and whether it ends early; on files made for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reeldex.extractors import resnet152, resnext101
from reeldex.extractors.decode import decode
from reeldex.extractors.errors import ExtractionError, FailureReason, ProbeError
from reeldex.extractors.fingerprint import decode_fingerprint
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoSource
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.options import DecodeLimits, DecodeOptions
from reeldex.extractors.packets import FirstPacket, PacketCounts
from reeldex.extractors.probe import probe
from reeldex.extractors.truncation import has_all_boxes
from reeldex.extractors.video_tracks import VideoTrack, candidates, choose, video_tracks
from tests.extractors.unchanged_frames import passthrough_arguments
from tests.videos import run_ffmpeg

SPECS = [resnet152.SPEC, resnext101.SPEC]
CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are outside this repository")


def decoded(path: Path, options: DecodeOptions | None = None) -> tuple[dict[str, int], DecodeSummary]:
    """The number of rows by extractor, and the summary."""
    frames = dict.fromkeys((spec.name for spec in SPECS), 0)
    for item in decode(VideoSource("video", str(path)), SPECS, DecodeLimits(), options=options or DecodeOptions()):
        if isinstance(item, DecodeSummary):
            return {spec.name: -(-frames[spec.name] // spec.frames_per_clip) for spec in SPECS}, item
        if isinstance(item, FrameBatch):
            frames[item.extractor] += len(item.frames)
        else:
            frames = dict.fromkeys(frames, 0)  # decoded again from the start
    raise AssertionError("no summary")


# Tables


def described(*lines: str) -> tuple[VideoTrack, ...]:
    return video_tracks("".join(f"  Stream #0:{at}: {line}\n" for at, line in enumerate(lines)))


H264 = "Video: h264 (High) (avc1 / 0x31637661), yuv420p, {}, 25 fps"


@pytest.mark.parametrize(
    ("lines", "stills", "number"),
    [
        ([H264.format("320x240")], [], 1),
        ([H264.format("320x240"), H264.format("480x360")], [], 1),
        ([H264.format("320x240"), H264.format("640x480")], [], 2),
        ([H264.format("96x96"), H264.format("320x240")], [], 2),
        ([H264.format("96x96"), H264.format("320x240") + " (default)"], [], 2),
        ([H264.format("640x480"), H264.format("320x240") + " (default)"], [], 2),
        ([H264.format("96x96") + " (default)", H264.format("640x480")], [], 1),
        ([H264.format("1024x768") + " (default)", H264.format("320x240") + " (default)"], [0], 2),
        ([H264.format("4000x3000"), H264.format("96x96"), H264.format("320x240")], [0], 3),
        ([H264.format("4000x3000"), H264.format("320x240")], [0, 1], 1),
        (["Video: mjpeg, yuvj420p, 600x600 (attached pic)", H264.format("320x240")], [], 2),
        (["Video: png, rgba, 600x600 (default) (timed thumbnails)", H264.format("320x240")], [], 2),
        (["Video: h264 ([27][0][0][0] / 0x001B), none, 90k tbr", H264.format("320x240")], [], 2),
        (["Audio: aac", H264.format("320x240"), H264.format("320x240")], [], 1),
    ],
)
def test_tracks_are_chosen_as_players_do(lines: list[str], stills: list[int], number: int) -> None:
    assert choose(candidates(described(*lines)), stills).number == number


def test_a_stream_of_two_programs_is_one_track() -> None:
    text = f"  Program 1\n  Stream #0:1[0x101]: {H264.format('8x8')}\n  Program 2\n"
    tracks = video_tracks(f"{text}  Stream #0:0[0x100]: {H264.format('9x9')}\n  Stream #0:1: {H264.format('8x8')}\n")
    assert [(track.number, track.stream, track.width) for track in tracks] == [(1, 0, 9), (2, 1, 8)]


@pytest.mark.parametrize(
    ("lines", "known_after", "counts"),
    [
        ([b"0, 0, 0, 1, 9, 0x1", b"1, 0, 0", b"0, 1, 1"], 3, [2, 1]),
        ([b"0, 0, 0", *(b"1, %d, 0" % at for at in range(20))], 12, [1, 11]),
        ([b"#software: x", b"0, NOPTS, 0", b"0, NOPTS, 0"], 3, [2, 0]),
        ([b"0, 0, 0", b"1, 0, 0"], None, [1, 1]),
    ],
)
def test_packets_are_counted_until_the_preferred_track_moves(
    lines: list[bytes], known_after: int | None, counts: list[int]
) -> None:
    counter = PacketCounts(2, max_gap_seconds=9.0)
    assert not any(counter.read_line(line) for line in (b"#tb 0: 1/1", b"#tb 1: 1/1"))
    known = [at for at, line in enumerate(lines, start=1) if at <= (known_after or 99) and counter.read_line(line)]
    assert known == ([] if known_after is None else [known_after])
    assert counter.counts == counts


def test_an_option_at_its_default_does_not_change_the_fingerprint() -> None:
    assert decode_fingerprint(DecodeOptions()) == {}
    assert decode_fingerprint(DecodeOptions(video_track=2)) == {"decode": {"video_track": 2}}


# Files


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files to combine: a moving picture, a small one, a single large picture, and sound."""
    folder = tmp_path_factory.mktemp("tracks")
    made = {
        "moving": "testsrc2=size=320x240:rate=25:duration=4",
        "small": "color=red:size=96x96:rate=25:duration=4",
        "still": "testsrc=size=640x480:rate=25,trim=end_frame=1",
    }
    for name, source in made.items():
        run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "mpeg4", "-pix_fmt", "yuv420p", folder / f"{name}.mp4")
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=size=640x480,trim=end_frame=1", "-c:v", "mjpeg", folder / "jpeg.mov")
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=4", folder / "sound.m4a")
    return {path.stem: path for path in folder.iterdir()}


def combine(files: list[Path], path: Path, *options: str) -> Path:
    inputs = [part for file in files for part in ("-i", str(file))]
    maps = [part for at in range(len(files)) for part in ("-map", str(at))]
    run_ffmpeg(*inputs, *maps, "-c", "copy", *options, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "avi"])
@pytest.mark.parametrize("first", ["still", "small", "jpeg"])
def test_the_moving_picture_is_decoded_wherever_it_is(
    tracks: dict[str, Path], tmp_path: Path, first: str, container: str
) -> None:
    path = combine([tracks[first], tracks["sound"], tracks["moving"]], tmp_path / f"two.{container}")
    rows, summary = decoded(path)
    assert rows["resnet152"] == 4
    assert (summary.metadata.width, summary.metadata.height) == (320, 240)
    assert not summary.truncated
    said = summary.notes[NoteKind.VIDEO_TRACK]
    assert said.startswith("Video track 2 (mpeg4, 320 x 240) was decoded")
    assert "track 1" in said


def test_a_still_is_better_than_nothing(tracks: dict[str, Path], tmp_path: Path) -> None:
    path = combine([tracks["still"], tracks["still"]], tmp_path / "stills.mkv")
    rows, summary = decoded(path)
    assert rows["resnet152"] == 1
    assert "with a single picture" in summary.notes[NoteKind.VIDEO_TRACK]


def test_the_default_of_three_tracks_is_decoded(tracks: dict[str, Path], tmp_path: Path) -> None:
    path = combine(
        [tracks["moving"], tracks["still"], tracks["small"]], tmp_path / "three.mkv",
        *("-disposition:v:0", "0", "-disposition:v:1", "default", "-disposition:v:2", "default"),
    )  # fmt: skip
    assert decoded(path)[1].metadata.width == 96


def test_a_track_can_be_requested(tracks: dict[str, Path], tmp_path: Path) -> None:
    path = combine([tracks["still"], tracks["moving"], tracks["small"]], tmp_path / "three.mkv")
    rows, summary = decoded(path, DecodeOptions(video_track=3))
    assert (rows["resnet152"], summary.metadata.width) == (4, 96)
    assert "as requested" in summary.notes[NoteKind.VIDEO_TRACK]
    assert decoded(path, DecodeOptions(video_track=1))[0]["resnet152"] == 1
    with pytest.raises(ProbeError) as raised:
        probe(str(path), options=DecodeOptions(video_track=4))
    assert raised.value.reason is FailureReason.NO_VIDEO_STREAM
    for part in ("Video track 4", "3 video tracks", "2 (mpeg4, 320 x 240)", "--video-track"):
        assert part in str(raised.value)


def test_one_track_is_no_choice(tracks: dict[str, Path], tmp_path: Path) -> None:
    assert decoded(tracks["moving"])[1].notes == {}
    covered = tmp_path / "covered.mp4"
    run_ffmpeg(
        *("-i", tracks["moving"], "-i", tracks["jpeg"], "-map", "1", "-map", "0", "-c", "copy"),
        *("-disposition:v:0", "attached_pic", covered),
    )
    rows, summary = decoded(covered)
    assert rows["resnet152"] == 4
    assert NoteKind.VIDEO_TRACK not in summary.notes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "late_seconds", "container", "far"),
    [("mpeg2video", 3, "ts", False), ("libx264", 15, "ts", True), ("mpeg2video", 15, "mpg", None)],
)
def test_a_picture_long_after_its_sound_keeps_its_place(
    tmp_path: Path, codec: str, late_seconds: int, container: str, *, far: bool | None
) -> None:
    late = tmp_path / f"late.{container}"
    picture = "testsrc2=size=160x120:rate=25:duration=3,format=yuv420p"
    run_ffmpeg(
        *("-f", "lavfi", "-i", f"sine=duration={late_seconds + 3}"),
        *("-itsoffset", str(late_seconds), "-f", "lavfi", "-i", picture),
        *("-map", "0", "-map", "1", "-c:v", codec, "-c:a", "mp2"),
        *(*passthrough_arguments(), str(late)),
    )
    rows, summary = decoded(late)
    assert rows["resnet152"] == late_seconds + 3
    assert far is None or summary.metadata.probed_far is far
    assert not summary.truncated


def test_the_first_packet_of_the_picture_is_timed() -> None:
    first = FirstPacket()
    lines = [b"#tb 0: 1/90000", b"#tb 1: 1/44100", b"1, 0, 0, 1", b"1, 9, 9, 1", b"0, 180000, 0, 1"]
    assert [first.read_line(line) for line in lines] == [False] * 4 + [True]
    assert first.seconds == 2.0


# A MOV or MP4 file is complete, or not


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (b"\0\0\0\x08ftyp\0\0\0\x0cmdat1234", True),
        (b"\0\0\0\x08ftyp\0\0\0\x0cmdat123", False),
        (b"\0\0\0\x08ftyp\0\0\0\x00mdat12", True),
        (b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x14abcd", True),
        (b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x14abc", False),
        (b"\0\0\0\x08ftyp\0\0\0", False),
        (b"\0\0\0\x02ftyp", False),
    ],
)
def test_boxes_say_how_long_a_file_is(tmp_path: Path, content: bytes, *, whole: bool) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    assert has_all_boxes(str(tmp_path / "a.mp4")) is whole


@pytest.mark.slow
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_sound_that_is_longer_than_the_picture_is_no_truncation(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"long.{container}"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=4"]
    run_ffmpeg(*picture, "-f", "lavfi", "-i", "sine=duration=12", "-pix_fmt", "yuv420p", path)
    assert not decoded(path)[1].truncated
    if container != "mkv":
        run_ffmpeg("-i", path, "-c", "copy", "-movflags", "+faststart", tmp_path / f"fast.{container}")
        content = (tmp_path / f"fast.{container}").read_bytes()
        (tmp_path / f"cut.{container}").write_bytes(content[: len(content) // 4])
        assert decoded(tmp_path / f"cut.{container}")[1].truncated


@pytest.mark.slow
@pytest.mark.parametrize("container", ["mkv", "webm", "mp4", "mov"])
def test_a_file_that_does_not_start_at_zero_is_not_truncated(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"late.{container}"
    source = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=3", "-pix_fmt", "yuv420p"]
    run_ffmpeg(*source, "-output_ts_offset", "50", path)
    rows, summary = decoded(path)
    assert rows["resnet152"] == 3
    assert not summary.truncated


# The cases of others


def rows_of(name: str) -> tuple[dict[str, int], DecodeSummary]:
    return decoded(CASES / name)


@pytest.mark.slow
@needs_cases
@pytest.mark.parametrize(
    ("name", "rows", "notes"),
    [
        ("stream-choice__one-frame-track-first.mp4", {"resnet152": 6, "resnext101_3d": 9}, {"video_track"}),
        ("stream-choice__unmarked-jpeg-first.mp4", {"resnet152": 6, "resnext101_3d": 9}, {"video_track"}),
        ("stream-choice__small-track-first.mp4", {"resnet152": 6, "resnext101_3d": 9}, {"video_track"}),
        ("timestamps__one-frame-300s-late.mp4", {"resnet152": 6, "resnext101_3d": 9}, {"timestamps_repaired"}),
        ("truncated__starts-at-100s.mkv", {"resnet152": 6, "resnext101_3d": 9}, set()),
        ("truncated__starts-at-60s.webm", {"resnet152": 2, "resnext101_3d": 3}, set()),
        ("probing__picture-20s-after-sound.ts", {"resnet152": 26, "resnext101_3d": 39}, {"long_gaps"}),
    ],
)
def test_odd_files_of_others_have_their_rows(name: str, rows: dict[str, int], notes: set[str]) -> None:
    found, summary = rows_of(name)
    assert found == rows
    assert {str(kind) for kind in summary.notes} == notes
    assert not summary.truncated


@needs_cases
def test_a_last_picture_far_beyond_the_end_has_no_rows_or_is_marked() -> None:
    found, summary = rows_of("timestamps__last-frame-300s-late.mp4")
    # ffmpeg 9 reads the duration that the container states, 5.1 takes it from the wrong time.
    repaired = NoteKind.TIMESTAMPS_REPAIRED in summary.notes
    assert (found["resnet152"] == 6) is repaired
    assert repaired or NoteKind.LONG_GAPS in summary.notes


@needs_cases
def test_rows_after_a_wrong_time_are_those_of_the_right_times() -> None:
    def frames(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        items = decode(VideoSource("a", str(CASES / name)), [resnet152.SPEC], DecodeLimits())
        return np.concatenate([item.frames for item in items if isinstance(item, FrameBatch)])

    wrong, right = frames("timestamps__one-frame-300s-late.mp4"), frames("stream-choice__unmarked-jpeg-first.mp4")
    assert wrong.shape == right.shape
    assert len({frame.tobytes() for frame in wrong}) == 6


@needs_cases
@pytest.mark.parametrize("name", ["gap__three-frames-12h-apart.mp4", "gap__three-frames-12h-apart.mkv"])
def test_gaps_of_hours_are_too_large(name: str) -> None:
    with pytest.raises(ExtractionError) as raised:
        rows_of(name)
    assert raised.value.reason is FailureReason.TOO_LARGE
