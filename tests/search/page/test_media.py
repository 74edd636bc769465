"""Pictures and segments, made by the real ffmpeg; a stand-in does what ffmpeg does only with long videos: last."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from reeldex.cli.page import describe
from reeldex.extractors import ffmpeg
from reeldex.search.page.disk_cache import DiskCache
from reeldex.search.page.ffmpeg_runs import FfmpegRuns
from reeldex.search.page.live_index import video_key
from reeldex.search.page.options import FfmpegProgram
from reeldex.search.page.problems import Problem
from reeldex.search.page.single_flight import SingleFlight
from tests.search.page.fixed_searcher import (
    FixedSearcher,
    colour_at,
    make_colours,
    page_options,
    running_page,
    start_page_process,
)
from tests.search.page.page_requests import get
from tests.videos import run_ffmpeg
from tests.waiting import wait_until


def pixel(encoded: bytes, at_seconds: float = 0.0) -> tuple[int, ...]:
    """Return the mean colour of the first frame at a time of encoded video or picture."""
    command = [ffmpeg.executable(), "-v", "error", "-i", "pipe:0", "-ss", str(at_seconds), "-frames:v", "1"]
    command += ["-vf", "scale=1:1:flags=area", "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"]
    return tuple(subprocess.run(command, input=encoded, capture_output=True, check=True).stdout)


def is_colour_of(second: int, seen: tuple[int, ...]) -> bool:
    return max(abs(one - other) for one, other in zip(colour_at(second), seen, strict=True)) < 21


def seconds_of(encoded: bytes) -> float:
    said = subprocess.run([ffmpeg.executable(), "-i", "pipe:0", "-f", "null", "-"], input=encoded, capture_output=True)  # noqa: PLW1510 - its words are what counts
    last = re.findall(rb"time=(\d+):(\d+):([\d.]+)", said.stderr)[-1]
    return int(last[0]) * 3600 + int(last[1]) * 60 + float(last[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["colours", "old film", "wrapped", "modern"])
@pytest.mark.parametrize("second", [0, 7, 16, 29])
def test_a_picture_shows_the_very_second(page: httpx.Client, name: str, second: int) -> None:
    answer = page.get(f"/pictures/{video_key(name)}/{second * 1000 + 500}.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert is_colour_of(second, pixel(answer.content)), "the nearest key frame would be another second's"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["old film", "modern", "wrapped"])
def test_transcoded_segments_are_exact_parts_of_the_video(page: httpx.Client, name: str) -> None:
    for number in range(3):
        segment = page.get(f"/segments/{video_key(name)}/transcode/{number}.mp4").raise_for_status().content
        assert seconds_of(segment) == pytest.approx(10, abs=0.06)
        for second in (0, 4, 9):
            assert is_colour_of(10 * number + second, pixel(segment, second + 0.5)), (number, second)


def test_the_cheaper_delivery_comes_first(page: httpx.Client) -> None:
    for name, deliveries in (
        ("wrapped", ["remux", "transcode"]),
        ("old film", ["transcode"]),
        ("modern", ["transcode"]),
    ):
        plan = page.get(f"/api/playing/{video_key(name)}").raise_for_status().json()
        assert plan["deliveries"] == deliveries
        assert plan["duration_seconds"] == pytest.approx(30, abs=0.1)
        assert plan["segment_seconds"] == 10


def test_a_file_name_that_looks_like_a_description_does_not_mislead_the_page(
    tmp_path: Path, fixed_index: FixedSearcher
) -> None:
    from tests.search.page.fixed_searcher import FixedVideo

    hostile = tmp_path / "x\n  Duration: 09:00:00.00\n  Stream #0:0: Video: h264, yuv420p, 640x360, 25 fps\n.avi"
    hostile.write_bytes(Path(fixed_index.videos()["old film"].path).read_bytes())
    searcher = FixedSearcher([FixedVideo("hostile", str(hostile), 9.0)], [])
    with running_page(searcher, page_options(tmp_path / "cache")) as address:
        plan = get(f"{address}/api/playing/{video_key('hostile')}").raise_for_status().json()
    assert plan["deliveries"] == ["transcode"], "the file is MPEG-4 part 2, whatever its name says"
    assert plan["duration_seconds"] == pytest.approx(30, abs=0.1)


def test_a_file_that_is_not_a_video_is_distinguished_from_a_missing_one(
    tmp_path: Path, fixed_index: FixedSearcher
) -> None:
    from tests.search.page.fixed_searcher import FixedVideo

    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    videos = [FixedVideo(name, str(tmp_path / name), 9.0) for name in ("text.avi", "list.m3u8", "gone.avi")]
    with running_page(FixedSearcher(videos, []), page_options(tmp_path / "cache")) as address:
        for kind in ("api/playing/{}", "pictures/{}/0.jpg", "segments/{}/transcode/0.mp4"):
            for name, status in (("text.avi", 422), ("list.m3u8", 422), ("gone.avi", 404)):
                answer = get(f"{address}/{kind.format(video_key(name))}", timeout=30)
                assert answer.status_code == status, (kind, name)
                assert "root:" not in answer.text


def test_a_picture_of_a_changed_file_is_made_again(tmp_path: Path) -> None:
    from tests.search.page.fixed_searcher import FixedVideo

    path = make_colours(tmp_path / "a.mp4", "-c:v", "libx264", seconds=3)
    with running_page(
        FixedSearcher([FixedVideo("a", str(path), 3.0)], []), page_options(tmp_path / "cache")
    ) as address:
        one = get(f"{address}/pictures/{video_key('a')}/500.jpg").content
        assert get(f"{address}/pictures/{video_key('a')}/500.jpg").content == one
        run_ffmpeg("-f", "lavfi", "-i", "color=white:s=160x90:r=25:d=3", path)
        two = get(f"{address}/pictures/{video_key('a')}/500.jpg").content
    assert is_colour_of(0, pixel(one))
    assert min(pixel(two)) > 245


def test_the_cache_keeps_the_latest_used_and_touches_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"x" * 5000)
    (tmp_path / ".publishing-0123").write_bytes(b"left by a kill")
    cache = DiskCache(tmp_path, 1000)
    for key in "abc":
        cache.put(key, key.encode() * 300)
    assert cache.get("a") == b"a" * 300
    cache.put("d", b"d" * 300)
    assert [cache.get(key) is not None for key in "abcd"] == [True, False, True, True]
    cache.put("huge", b"h" * 2000)
    assert cache.get("huge") is None
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mine.txt"]

    for key in "ab":
        cache.put(key, b"1" * 400)
    (tmp_path / f"{'0' * 64}.cached").mkdir()
    (tmp_path / f"{'1' * 64}.cached").symlink_to("nowhere")
    smaller = DiskCache(tmp_path, 500)
    assert [smaller.get(key) is not None for key in "ab"] == [False, True], "what an earlier server left counts too"


def test_a_full_disk_costs_the_cache_and_not_the_picture(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    with running_page(fixed_index, page_options(tmp_path / "cache")) as address:
        (tmp_path / "cache").rmdir()
        (tmp_path / "cache").write_text("a file where the folder was")
        answer = get(f"{address}/pictures/{video_key('colours')}/500.jpg", timeout=30)
    assert answer.status_code == 200


def stand_in(tmp_path: Path, body: str) -> FfmpegProgram:
    program = tmp_path / "stand-in for ffmpeg"
    program.write_text(f"#!/bin/sh\necho $$ >> '{tmp_path}/started'\n{body}\n")
    program.chmod(0o755)
    return FfmpegProgram((str(program),), ("-protocol_whitelist", "file"), describe)


def started(tmp_path: Path) -> list[int]:
    path = tmp_path / "started"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_twenty_who_want_one_picture_cost_one_process(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    program = stand_in(tmp_path, "sleep 1; echo picture")
    with running_page(fixed_index, page_options(tmp_path / "cache", ffmpeg=program)) as address:
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            target = f"{address}/pictures/{video_key('colours')}/500.jpg"
            answers = list(pool.map(lambda _: get(target, timeout=30), range(20)))
        assert {answer.content for answer in answers} == {b"picture\n"}
        assert len(started(tmp_path)) == 1


def test_processes_are_few_and_the_line_is_bounded(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    release = tmp_path / "release"
    program = stand_in(tmp_path, f"while [ ! -e '{release}' ]; do sleep 0.05; done; echo picture")
    options = page_options(tmp_path / "cache", ffmpeg=program, ffmpeg_processes=2, ffmpeg_waiting=2)
    with running_page(fixed_index, options) as address, concurrent.futures.ThreadPoolExecutor(20) as pool:

        def ask(second: int) -> int:
            target = f"{address}/pictures/{video_key('colours')}/{second}000.jpg"
            return get(target, timeout=30).status_code

        answers = [pool.submit(ask, second) for second in range(10)]
        wait_until(lambda: len(started(tmp_path)) == 2, 15)
        assert sum(map(alive, started(tmp_path))) <= 2
        wait_until(lambda: sum(answer.done() for answer in answers) == 6, 15)
        release.touch()
        assert sorted(answer.result() for answer in answers) == [200] * 4 + [503] * 6


@pytest.mark.slow
def test_work_that_no_request_waits_for_is_cancelled(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    program = stand_in(tmp_path, "sleep 1000")
    with running_page(fixed_index, page_options(tmp_path / "cache", ffmpeg=program)) as address:
        with pytest.raises(httpx.ReadTimeout):
            get(f"{address}/pictures/{video_key('colours')}/500.jpg", timeout=5)
        wait_until(lambda: started(tmp_path) and not any(map(alive, started(tmp_path))), 15)


def test_what_takes_too_long_is_ended(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    program = stand_in(tmp_path, "sleep 1000 & wait")  # a child of its own: the whole group has to go
    options = page_options(tmp_path / "cache", ffmpeg=program, picture_timeout_seconds=0.5)
    with running_page(fixed_index, options) as address:
        answer = get(f"{address}/pictures/{video_key('colours')}/500.jpg", timeout=20)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
        assert not any(map(alive, started(tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_server_leaves_no_process(fixed_index: FixedSearcher, tmp_path: Path, number: int) -> None:
    # It writes nothing, and so never learns that nobody reads.
    program = stand_in(tmp_path, "exec sleep 1000")
    folder = Path(fixed_index.videos()["colours"].path).parent
    process, address = start_page_process(folder, tmp_path / "cache", program.command[0])
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(get, f"{address}/pictures/{video_key('colours')}/900.jpg", timeout=30)
            wait_until(lambda: any(map(alive, started(tmp_path))), 15)
            process.send_signal(number)
            process.wait(20)
            wait_until(lambda: not any(map(alive, started(tmp_path))), 5)
            if number == signal.SIGKILL:
                assert isinstance(asked.exception(), httpx.HTTPError)
            else:
                assert asked.result().status_code == 503
    finally:
        process.kill()
        process.communicate()


def test_output_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reeldex.search.page.ffmpeg_runs._MOST_OUTPUT_BYTES", 100_000)
    with pytest.raises(Problem, match="more than") as told:
        asyncio.run(FfmpegRuns(1, 0).run(["yes"], 20))
    assert told.value.status == 502


def test_a_failed_job_raises_for_all_waiting_callers_and_is_retried_later() -> None:
    calls = []

    async def work() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        raise ValueError("broken")

    async def never_gone() -> None:
        await asyncio.Event().wait()

    async def ask_thrice() -> None:
        jobs: SingleFlight[int] = SingleFlight()
        told = await asyncio.gather(*(jobs.result("key", work, never_gone) for _ in range(2)), return_exceptions=True)
        assert [type(each) for each in told] == [ValueError, ValueError]
        with pytest.raises(ValueError, match="broken"):
            await jobs.result("key", work, never_gone)

    asyncio.run(ask_thrice())
    assert len(calls) == 2
