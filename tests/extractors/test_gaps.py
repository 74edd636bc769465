"""Gaps between time stamps, in every container that ffmpeg writes: neither memory nor rows without bound."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from reeldex.extractors import ffmpeg, resnet152, resnext101
from reeldex.extractors.decode import decode
from reeldex.extractors.errors import DecodeError, FailureReason
from reeldex.extractors.frame_stream import FrameStream, MissingPicturesError
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoSource
from reeldex.extractors.options import DecodeLimits
from tests.conftest import MakeVideo
from tests.extractors.unchanged_frames import passthrough_arguments
from tests.videos import cached_video

SPECS = [resnet152.SPEC, resnext101.SPEC]
ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT.parent / "shared" / "cases"
# Container -> a codec that it takes and every ffmpeg writes.
CODECS = {
    "mp4": "libx264",
    "m4v": "libx264",
    "mov": "mjpeg",
    "mkv": "libx264",
    "webm": "libvpx",
    "nut": "libx264",
    "flv": "flv1",
    "ts": "mpeg2video",
    "mpg": "mpeg2video",
    "wmv": "wmv2",
    "avi": "mjpeg",
    "ogv": "libtheora",
}
# These two write less than they are given: AVI refuses the gap, Ogg counts frames.
WITHOUT_GAP = {"avi", "ogv"}
MOST_MEMORY_KILOBYTES = 300_000

# A process of its own: what its children used at most is theirs alone.
MEASURE = """
import json, resource, sys
from reeldex.extractors import resnet152, resnext101
from reeldex.extractors.decode import decode
from reeldex.extractors.options import DecodeLimits
from reeldex.extractors.errors import ExtractionError
from reeldex.extractors.frame_stream import FrameStream, MissingPicturesError
from reeldex.extractors.frames import DecodeSummary, VideoSource
specs, rows = [resnet152.SPEC, resnext101.SPEC], {}
for path in sys.argv[2:]:
    rows[path] = {}
    try:
        for item in decode(VideoSource("video", path), specs, DecodeLimits(max_gap_seconds=float(sys.argv[1]))):
            if hasattr(item, "frames"):
                rows[path][item.extractor] = rows[path].get(item.extractor, 0) + len(item.frames)
    except ExtractionError as error:
        rows[path] = str(error.reason)
print(json.dumps([rows, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def measured(paths: list[Path], max_gap_seconds: float = 600.0) -> dict[str, object]:
    """What comes of each file; fails if an ffmpeg took more memory than it may."""
    command = [sys.executable, "-c", MEASURE, str(max_gap_seconds), *map(str, paths)]
    answer = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, timeout=120)
    rows, kilobytes = json.loads(answer.stdout)
    assert kilobytes < MOST_MEMORY_KILOBYTES
    return {Path(path).name: outcome for path, outcome in rows.items()}


def make_pictures_apart(path: Path, seconds: float, count: int = 3) -> Path:
    """A video with one picture every so many seconds."""
    source = ["-f", "lavfi", "-i", f"testsrc2=size=160x120:rate=25,trim=end_frame={count},setpts=N*{seconds}/TB"]
    subprocess.run(
        [
            *(
                ffmpeg.executable(),
                "-v",
                "quiet",
                "-nostdin",
                "-y",
                *source,
                "-c:v",
                CODECS[path.suffix[1:]],
                "-pix_fmt",
                "yuv420p",
            ),
            *(*passthrough_arguments(), str(path)),
        ],
        check=path.suffix[1:] not in WITHOUT_GAP,
    )
    return path


@pytest.mark.slow
def test_twelve_hours_between_two_pictures_cost_no_memory(tmp_path: Path) -> None:
    paths = [make_pictures_apart(tmp_path / f"gap.{container}", 12 * 3600) for container in CODECS]
    outcomes = measured(paths)
    for path in paths:
        described = subprocess.run([ffmpeg.executable(), "-nostdin", "-i", str(path)], capture_output=True, check=False)
        if path.suffix[1:] in WITHOUT_GAP:
            assert isinstance(outcomes[path.name], dict), path.name
        elif described.returncode < 0:  # a build of 4.2 crashes when it opens any MPEG-TS
            assert outcomes[path.name] == "decode_error", path.name
        else:
            assert outcomes[path.name] == "too_large", path.name


@pytest.mark.slow
@pytest.mark.skipif(not CASES.is_dir(), reason="the cases lie outside this repository")
def test_the_gap_files_of_others_end_with_an_outcome() -> None:
    outcomes = measured(sorted(CASES.glob("gap__*")))
    assert set(outcomes.values()) == {"too_large"}


@pytest.mark.slow
def test_memory_does_not_depend_on_how_long_a_gap_may_be(tmp_path: Path) -> None:
    outcomes = measured([make_pictures_apart(tmp_path / "gap.mkv", 12 * 3600)], max_gap_seconds=1e6)
    rows = outcomes["gap.mkv"]
    assert isinstance(rows, dict)
    assert 24 * rows["resnet152"] == pytest.approx(rows["resnext101_3d"], abs=24)
    assert rows["resnet152"] == pytest.approx(86_400, abs=2)


@pytest.mark.slow
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_stills_of_nine_minutes_have_all_their_rows(tmp_path: Path, container: str) -> None:
    stills = tmp_path / f"stills.{container}"
    source = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=1/540:duration=1080"]
    cached_video(stills, *source, "-c:v", "mpeg4")
    rows = measured([stills])[stills.name]
    assert isinstance(rows, dict)
    last_has_a_length = rows["resnet152"] > 541
    assert rows["resnet152"] == (1080 if last_has_a_length else pytest.approx(540, abs=1))
    if container == "mp4":
        assert rows == {"resnet152": 1080, "resnext101_3d": 1080 * 24}


@pytest.mark.slow
def test_a_gap_is_named_with_its_place_and_the_setting(tmp_path: Path) -> None:
    video = make_pictures_apart(tmp_path / "gap.mp4", 20)
    with pytest.raises(DecodeError) as raised:
        list(decode(VideoSource("gap", str(video)), SPECS, DecodeLimits(max_gap_seconds=12)))
    assert raised.value.reason is FailureReason.TOO_LARGE
    for part in ("20.0 seconds", "from 0.0 s on", "12 seconds", "limits.max_gap_seconds"):
        assert part in str(raised.value)
    items = list(decode(VideoSource("gap", str(video)), SPECS, DecodeLimits(max_gap_seconds=30)))
    summary = items[-1]
    assert isinstance(summary, DecodeSummary)
    assert summary.decoded_seconds >= 40


def test_frames_of_a_gap_are_copies_of_the_picture_before_it(tmp_path: Path, make_video: MakeVideo) -> None:
    video = tmp_path / "jump.mkv"
    late = "setpts=PTS+gte(N\\,30)*3/TB"
    source = [ffmpeg.executable(), "-v", "error", "-i", str(make_video(tmp_path / "a.mp4", seconds=2))]
    subprocess.run([*source, "-vf", late, *passthrough_arguments(), str(video)], check=True)
    frames = [
        frame
        for item in decode(VideoSource("jump", str(video)), [resnext101.SPEC], DecodeLimits())
        if isinstance(item, FrameBatch)
        for frame in item.frames
    ]
    assert len(frames) == 5 * 24
    runs = [len(list(group)) for _, group in itertools.groupby(frames, key=lambda frame: frame.tobytes())]
    assert max(runs) == pytest.approx(3 * 24 + 1, abs=1)
    assert len(runs) == len(frames) - max(runs) + 1


def test_times_without_their_pictures_are_an_error(tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    ticks.write_bytes(b"".join(b"frame:%d    pts:%d pts_time:%d\n" % (each, each, each) for each in range(3)))
    stream = FrameStream(resnet152.SPEC, 1, 600.0)
    with ticks.open("rb") as file:
        assert list(stream.read_ticks(file.fileno())) == []
        assert list(stream.shift([0, 0, 0])) == []
    with pytest.raises(MissingPicturesError, match="2 of those for resnet152 are missing"):
        list(stream.finish())
