"""Colours, shape and size of pictures: HDR, non-square pixels, and long and narrow ones."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reeldex.errors import PermanentFaultError
from reeldex.extractors import ffmpeg, resnet152, resnext101
from reeldex.extractors.colour import Colour, parse_colour
from reeldex.extractors.decode import decode
from reeldex.extractors.decoders import affects_all_videos
from reeldex.extractors.errors import DecodeError, FailureReason
from reeldex.extractors.fingerprint import decode_fingerprint
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoMetadata, VideoSource
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.options import DecodeLimits, DecodeOptions
from reeldex.extractors.pictures import picture_notes, require_size
from reeldex.extractors.probe import probe
from reeldex.extractors.tone_map import compressed, hlg_light, pq_light, table_file, to_bt709
from tests.videos import cached_video

SPECS = [resnet152.SPEC, resnext101.SPEC]
TONE_MAP = DecodeOptions(tone_map=True)
SQUARE = DecodeOptions(square_pixels=True)
_DOLBY_VISION = (
    "      DOVI configuration record: version: 1.0, profile: {profile}, level: 3, rpu flag: 1, el flag: 0, "
    "bl flag: 1, compatibility id: {compatibility}\n"
)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])
# From BT.709 video to HDR video with the reference white of BT.2408.
_BT709 = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
_TO_LINEAR = f"scale=out_color_matrix=bt709,format=yuv444p,{_BT709},zscale=t=linear:npl=203,format=gbrpf32le"


def make(path: Path, filters: str, *options: str, size: str = "320x240", picture: str = "testsrc2") -> Path:
    source = ["-f", "lavfi", "-i", f"{picture}=size={size}:rate=10:duration=1"]
    return cached_video(path, *source, "-vf", filters, *options)


def make_hdr(path: Path, transfer: str, picture: str = "testsrc2") -> Path:
    filters = f"{_TO_LINEAR},zscale=p=bt2020:m=bt2020nc:t={transfer}:r=tv:npl=203,format=yuv420p10le"
    return make(path, filters, "-c:v", "libx265", "-x265-params", "log-level=none:pools=none", picture=picture)


def frames(path: Path, options: DecodeOptions = DecodeOptions()) -> tuple[NDArray[np.float64], DecodeSummary]:  # noqa: B008
    found, summary = [], None
    for item in decode(VideoSource("video", str(path)), SPECS[:1], DecodeLimits(), options=options):
        if isinstance(item, FrameBatch):
            found.append(item.frames)
        else:
            summary = item
    assert isinstance(summary, DecodeSummary)
    return np.concatenate(found).astype(float), summary


def difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.abs(first - second).mean())


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float64]:
    path = tmp_path_factory.mktemp("standard") / "sdr.mp4"
    return frames(make(path, "scale=out_color_matrix=bt709,format=yuv420p", "-colorspace", "bt709"))[0]


@pytest.mark.slow
@pytest.mark.parametrize(("transfer", "hdr", "largest"), [("smpte2084", "PQ", 20), ("arib-std-b67", "HLG", 35)])
def test_hdr_looks_like_the_same_video_in_standard_range_if_it_is_mapped(
    tmp_path: Path, standard: NDArray[np.float64], transfer: str, hdr: str, largest: float
) -> None:
    video = make_hdr(tmp_path / "hdr.mp4", transfer)
    found = probe(str(video)).colour
    assert (found.hdr, found.stated()) == (
        hdr,
        {"range": "tv", "matrix": "bt2020nc", "primaries": "bt2020", "transfer": transfer},
    )
    plain, summary = frames(video)
    mapped, mapped_summary = frames(video, TONE_MAP)
    assert difference(mapped, standard) < largest
    assert difference(plain, standard) > 1.5 * difference(mapped, standard)
    assert mapped.std() > 1.4 * plain.std()
    assert "without tone mapping" in summary.notes[NoteKind.HDR]
    assert f"({hdr}), mapped to BT.709" in mapped_summary.notes[NoteKind.HDR]


def test_standard_range_is_not_changed_by_tone_mapping(tmp_path: Path) -> None:
    video = make(tmp_path / "sdr.mp4", "format=yuv420p")
    plain, summary = frames(video)
    mapped, mapped_summary = frames(video, TONE_MAP)
    assert np.array_equal(plain, mapped)
    assert NoteKind.HDR not in summary.notes
    assert NoteKind.HDR not in mapped_summary.notes


@pytest.mark.slow
@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_table_that_was_cleaned_away_is_written_again(*, whole_folder: bool) -> None:
    colour = Colour(transfer="smpte2084", primaries="bt2020")
    table = Path(table_file(colour))
    text = table.read_text(encoding="ascii")
    shutil.rmtree(table.parent) if whole_folder else table.unlink()
    assert Path(table_file(colour)).read_text(encoding="ascii") == text


@pytest.mark.slow
def test_a_table_that_cannot_be_written_is_no_fault_of_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = make_hdr(tmp_path / "hdr.mkv", "smpte2084")
    shutil.rmtree(Path(table_file(Colour(transfer="smpte2084", primaries="bt2020"))).parent)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(PermanentFaultError, match="TMPDIR") as raised:
        list(decode(VideoSource("hdr", str(video)), SPECS, DecodeLimits(), options=TONE_MAP))
    assert affects_all_videos(raised.value)


@pytest.mark.slow
def test_tone_mapping_is_that_of_its_formula(tmp_path: Path) -> None:
    video = make_hdr(tmp_path / "hdr.mkv", "smpte2084", picture="smptebars")
    command = [ffmpeg.executable(), "-v", "error", "-i", str(video), "-vf", "scale=298:224", "-pix_fmt", "gbrp16le"]
    raw = subprocess.run([*command, "-vframes", "1", "-f", "rawvideo", "-"], capture_output=True, check=True).stdout
    signal = np.frombuffer(raw, "<u2").reshape(3, 224, 298)[[2, 0, 1]].transpose(1, 2, 0) / 65535
    exact = 255 * to_bt709(signal, "smpte2084", "bt2020")
    assert np.abs(frames(video, TONE_MAP)[0][0] - exact).mean() < 1.2


@pytest.mark.parametrize("signal", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_light_of_pq_and_hlg_is_that_of_the_standards(signal: float) -> None:
    # ITU-R BT.2100, tables 4 and 5; BT.2408: reference white is 58 % PQ and 75 % HLG.
    pq = {0.0: 0.0, 0.25: 5.15, 0.5: 92.25, 0.75: 983.4, 1.0: 10_000.0}
    hlg = {0.0: 0.0, 0.25: 9.65, 0.5: 50.7, 0.75: 203.2, 1.0: 1000.0}
    grey = np.full(3, signal)
    assert pq_light(grey) == pytest.approx(pq[signal], rel=0.01)
    assert hlg_light(grey, _LUMINANCE) == pytest.approx(hlg[signal], rel=0.01, abs=0.01)


def test_compression_keeps_dark_light_and_orders_bright_light() -> None:
    light = np.linspace(0, 6, 601)
    out = compressed(light)
    assert np.array_equal(out[light <= 0.75], light[light <= 0.75])
    assert (np.diff(out) >= 0).all()
    assert out.max() == pytest.approx(1.0)
    assert compressed(np.array([1.0]))[0] == pytest.approx(0.88, abs=0.01)


def test_grey_stays_grey_for_all_primaries() -> None:
    for primaries in ("bt709", "bt2020", "smpte432"):
        out = to_bt709(np.linspace(0, 1, 20)[:, None].repeat(3, axis=1), "smpte2084", primaries)
        assert np.ptp(out, axis=1).max() < 0.002


@pytest.mark.parametrize(
    ("properties", "side_data", "expected"),
    [
        ("", "", Colour()),
        ("tv, progressive", "", Colour("tv")),
        ("pc, bt709, top first", "", Colour("pc", "bt709", "bt709", "bt709")),
        ("tv, bt2020nc/bt2020/smpte2084, progressive", "", Colour("tv", "bt2020nc", "bt2020", "smpte2084")),
        ("tv, bt2020nc/bt2020/arib-std-b67", "", Colour("tv", "bt2020nc", "bt2020", "arib-std-b67")),
        ("pc, gbr/unknown/unknown", "", Colour("pc", "gbr")),
        ("tv, unknown/bt709/bt709", "", Colour("tv", None, "bt709", "bt709")),
        ("10 bpc, tv", "", Colour("tv")),
        (
            "tv",
            _DOLBY_VISION.format(profile=5, compatibility=0),
            Colour("tv", dolby_vision_profile=5),
        ),
        (
            "tv, bt2020nc/bt2020/arib-std-b67",
            _DOLBY_VISION.format(profile=8, compatibility=4),
            Colour("tv", "bt2020nc", "bt2020", "arib-std-b67"),
        ),
    ],
)
def test_colours_are_read_from_a_description(properties: str, side_data: str, expected: Colour) -> None:
    assert parse_colour(properties, side_data) == expected


def test_what_cannot_be_mapped_is_said() -> None:
    metadata = VideoMetadata("mov", "hevc", 320, 240, 0.0, None, None, colour=Colour(dolby_vision_profile=5))
    for options in (TONE_MAP, DecodeOptions()):
        assert "colours are wrong" in picture_notes(metadata, options)[NoteKind.HDR]


def test_options_that_change_pictures_are_part_of_the_fingerprint() -> None:
    assert decode_fingerprint(DecodeOptions()) == {}
    assert decode_fingerprint(TONE_MAP) == {"decode": {"tone_map": "bt709.knee1"}}
    assert decode_fingerprint(SQUARE) == {"decode": {"square_pixels": True}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "aspect", "stored", "square"),
    [
        ("720x576", "16/15", (224, 280), (224, 298)),
        ("720x576", "64/45", (224, 280), (224, 398)),
        ("352x480", "20/11", (305, 224), (224, 298)),
        ("320x240", "1/1", (224, 298), (224, 298)),
    ],
)
def test_pixels_are_square_if_asked_for(
    tmp_path: Path, size: str, aspect: str, stored: tuple[int, int], square: tuple[int, int]
) -> None:
    video = make(tmp_path / "wide.mkv", f"setsar={aspect},format=yuv420p", size=size)
    assert frames(video)[0].shape[1:3] == stored
    assert frames(video, SQUARE)[0].shape[1:3] == square


def test_square_pixels_of_a_square_picture_change_nothing(tmp_path: Path) -> None:
    video = make(tmp_path / "plain.mp4", "format=yuv420p")
    assert np.array_equal(frames(video)[0], frames(video, SQUARE)[0])


@pytest.mark.parametrize(("size", "spec"), [("4096x8", SPECS[0]), ("8x4096", SPECS[0]), ("2048x16", SPECS[1])])
def test_a_long_and_narrow_picture_is_too_large(tmp_path: Path, size: str, spec: object) -> None:
    video = make(tmp_path / "strip.mkv", "format=yuv420p", "-c:v", "ffv1", size=size)
    with pytest.raises(DecodeError, match="max_aspect_ratio") as raised:
        list(decode(VideoSource("strip", str(video)), [spec], DecodeLimits()))  # type: ignore[list-item]
    assert raised.value.reason is FailureReason.TOO_LARGE
    assert size.replace("x", " x ") in str(raised.value)


@pytest.mark.parametrize(
    ("width", "height", "aspect", "square", "refused"),
    [
        (1920, 60, 1.0, False, False),
        (1920, 59, 1.0, False, True),
        (720, 576, 100.0, False, False),
        (720, 576, 100.0, True, True),
        (720, 576, 0.001, True, True),
    ],
)
def test_the_limit_concerns_the_shape_that_the_network_sees(
    width: int, height: int, aspect: float, *, square: bool, refused: bool
) -> None:
    metadata = VideoMetadata("mov", "h264", width, height, 0.0, None, None, pixel_aspect=aspect)
    with pytest.raises(DecodeError, match="too long and narrow") if refused else nullcontext():
        require_size("x", SPECS[0], metadata, DecodeLimits(), square_pixels=square)
