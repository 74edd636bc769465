"""`reeldex extract --dry-run` on lists: stated lengths, samples of many videos, other hardware."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from reeldex.extractors.options import DecodeLimits, DecodeOptions
from reeldex.extractors.spec import ExtractorSpec
from reeldex.flows.extraction import video_lengths
from reeldex.flows.extraction.calibration import Estimated, change_calibration, load_calibration
from reeldex.flows.extraction.measuring import DecodeRate, decode_rate
from tests.conftest import MakeVideo, Reeldex
from tests.videos import run_ffmpeg


def listed(folder: Path, *rows: str) -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join(["path,seconds", *rows]) + "\n")
    return path


def test_a_list_with_lengths_is_enough_for_an_estimate_on_other_hardware(reeldex: Reeldex, tmp_path: Path) -> None:
    path = listed(tmp_path, *(f"/not/here/{number}.mp4,{10 + number % 2}" for number in range(130)))
    asked = ("extract", path, "--store", tmp_path / "store", "--dry-run", "--at-speed", "50")
    one = reeldex(*asked, "--json").json
    assert (one["videos"], one["shards"], one["broken"], one["opened"], one["stated"]) == (130, 3, 0, 0, 130)
    assert one["seconds_of_video"] == 65 * 10 + 65 * 11
    assert one["rows"] == {"resnet152": 65 * 10 + 65 * 11, "resnext101_3d": 65 * 15 + 65 * 17}
    assert one["bytes_out"] == sum(one["rows"].values()) * 2048 * 2
    assert one["start_seconds"] > 0
    assert one["total_seconds"] - one["start_seconds"] == pytest.approx(1365 / 50)
    many = reeldex(*asked, "--machines", "10", "--json").json
    # Of 3 shards, a machine has one at most.
    assert 1365 / 50 / 3 - 1e-6 <= many["total_seconds"] - many["start_seconds"] < 1365 / 50
    assert many["machines"] == 10
    answer = reeldex(*asked, "--machines", "10")
    assert "130 videos in 3 shards" in answer.out
    assert " on 10 machines\n" in answer.out
    assert "Assumed: each machine extracts 50 s of video per second." in answer.out
    assert not (tmp_path / "store").exists()


def test_clips_are_cut_from_the_stated_length_of_their_file(reeldex: Reeldex, tmp_path: Path) -> None:
    path = tmp_path / "clips.jsonl"
    path.write_text(
        '{"path": "/not/here/a.mp4", "seconds": 60, "start": 50}\n'
        '{"path": "/not/here/a.mp4", "seconds": 60, "start": 5, "end": 10}\n'
        '{"path": "/not/here/a.mp4", "seconds": 60, "start": 50, "end": 100}\n'
    )
    asked = ("extract", path, "--store", tmp_path / "store", "--dry-run", "--at-speed", "1", "--json")
    assert reeldex(*asked).json["seconds_of_video"] == 10 + 5 + 10


@pytest.mark.parametrize(
    ("rows", "arguments", "said"),
    [
        (["/a.mp4,soon"], ("--dry-run",), "line 2: the column seconds is 'soon', which is not a time"),
        (["/a.mp4,1", "/b.mp4,-3"], ("--dry-run",), "line 3: the column seconds is '-3'"),
        (["/a.mp4,1"], ("--at-speed", "10"), "--at-speed and --machines are about estimates; give --dry-run, too."),
        (["/a.mp4,1"], ("--machines", "2"), "give --dry-run, too."),
        (["/a.mp4,1"], ("--dry-run", "--at-speed", "0"), "A speed is a positive number"),
        (["/a.mp4,1"], ("--dry-run", "--machines", "0"), "at least 1 machine, not 0"),
        (["/not/a.mp4,1", "/not/b.mp4,"], ("--dry-run", "--at-speed", "9"), "state the length of every video"),
    ],
)
def test_what_cannot_be_estimated_is_refused(
    reeldex: Reeldex, tmp_path: Path, rows: list[str], arguments: tuple[str, ...], said: str
) -> None:
    answer = reeldex("extract", listed(tmp_path, *rows), "--store", tmp_path / "store", *arguments)
    assert answer.status == 2
    assert said in answer.err


def test_of_many_videos_a_sample_is_opened(
    reeldex: Reeldex, make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = make_video(tmp_path / "good.mp4", seconds=1.2)
    rows = []
    for number in range(12):
        copy = tmp_path / f"copy-{number}.mp4"
        copy.write_bytes(good.read_bytes())
        rows.append(f"{copy},")
    asked = (
        "extract",
        listed(tmp_path, *rows),
        "--store",
        tmp_path / "store",
        "--dry-run",
        "--at-speed",
        "1",
        "--json",
    )
    whole = reeldex(*asked).json
    monkeypatch.setattr(video_lengths, "MOST_PROBED", 4)
    some = reeldex(*asked).json
    assert (whole["opened"], some["opened"]) == (12, 4)
    assert some["assumptions"][0] == "4 of the 12 videos were opened, chosen by chance; the others are like them."
    for name in ("videos", "broken", "bytes_out", "rows", "shards"):
        assert some[name] == whole[name]
    assert some["seconds_of_video"] == pytest.approx(whole["seconds_of_video"])


def test_an_estimate_keeps_what_another_command_found_while_it_measured(
    reeldex: Reeldex, make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = str(tmp_path / "other store")

    # Stands for another command, which ends just then.
    def meanwhile(
        path: str, specs: Sequence[ExtractorSpec], limits: DecodeLimits, options: DecodeOptions
    ) -> DecodeRate | None:
        change_calibration(lambda known: known.with_estimate(other, Estimated(1.0, 2.0, 3.0)))
        return decode_rate(path, specs, limits, options)

    monkeypatch.setattr("reeldex.flows.extraction.work.decode_rate", meanwhile)
    video = make_video(tmp_path / "a.mp4", seconds=1.2)
    small = ("--extractors", "tiny2d", "--weights", "random")
    assert reeldex("extract", video, "--store", tmp_path / "store", "--dry-run", *small).status == 0
    estimates = load_calibration().estimates
    assert estimates[other] == Estimated(1.0, 2.0, 3.0)
    assert str(tmp_path / "store") in estimates


def test_videos_of_unknown_duration_are_counted_beyond_the_sample(
    reeldex: Reeldex, make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    stream = make_video(tmp_path / "a.mp4", seconds=1.2)
    for number in range(12):  # a raw stream states no duration
        run_ffmpeg("-i", stream, "-c", "copy", "-f", "h264", folder / f"{number}.h264")
    monkeypatch.setattr(video_lengths, "MOST_PROBED", 4)
    asked = ("extract", folder, "--store", tmp_path / "store", "--dry-run", "--at-speed", "1", "--json")
    assert reeldex(*asked).json["unknown_duration"] == 12
