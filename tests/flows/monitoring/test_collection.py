"""Metrics of runs: recorded in files, summed over runs that work, ended or were killed, and exported as text."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reeldex.flows.monitoring import metrics, run_file
from reeldex.flows.monitoring.collection import MetricsError, collect
from reeldex.flows.monitoring.run_file import RunMetrics
from reeldex.storage import atomic
from reeldex.user_folders import FolderNotWritableError

OK, FAILED = metrics.VIDEOS.sample("ok"), metrics.VIDEOS.sample("failed")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write each change, instead of one every few seconds."""
    monkeypatch.setattr(run_file, "_EVERY_SECONDS", 0.0)


def test_runs_are_summed_and_ended_ones_keep_counting(tmp_path: Path) -> None:
    first, second = RunMetrics(tmp_path), RunMetrics(tmp_path)
    first.add(metrics.VIDEOS, 3, "ok")
    second.add(metrics.VIDEOS, 2, "ok")
    second.set(metrics.VIDEOS_WAITING, 7)
    assert collect(tmp_path) == {OK: 5, metrics.RUNS.name: 2, metrics.VIDEOS_WAITING.name: 7}
    second.end()
    for _ in range(2):
        assert collect(tmp_path) == {OK: 5, metrics.RUNS.name: 1}
    third = RunMetrics(tmp_path)
    third.add(metrics.VIDEOS, 1, "failed")
    first.end()
    third.end()
    for _ in range(2):
        assert collect(tmp_path) == {OK: 5, FAILED: 1}
    assert [file.name for file in tmp_path.glob("run-*")] == [], "files of runs that have ended are removed"


_KILLED = """
import os, signal, sys
from pathlib import Path
from reeldex.flows.monitoring import metrics, run_file
run_file._EVERY_SECONDS = 0.0
run = run_file.RunMetrics(Path(sys.argv[1]))
run.add(metrics.VIDEOS, 4, "ok")
run.set(metrics.VIDEOS_WAITING, 9)
print("working", flush=True)
sys.stdin.read()
"""


def test_a_killed_run_is_counted_once_and_waits_for_nothing(tmp_path: Path) -> None:
    program = [sys.executable, "-c", _KILLED, str(tmp_path)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        assert collect(tmp_path) == {OK: 4, metrics.RUNS.name: 1, metrics.VIDEOS_WAITING.name: 9}
        process.send_signal(signal.SIGKILL)
    for _ in range(2):
        assert collect(tmp_path) == {OK: 4}


def test_killed_while_an_ended_run_is_added_the_next_collection_counts_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunMetrics(tmp_path)
    run.add(metrics.VIDEOS, 4, "ok")
    run.end()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _killed)
        with pytest.raises(KeyboardInterrupt):
            collect(tmp_path)
    assert list(tmp_path.glob("run-*.json"))
    for _ in range(2):
        assert collect(tmp_path) == {OK: 4}


def _killed(path: Path, *, missing_ok: bool = False) -> None:
    raise KeyboardInterrupt(path, missing_ok)


def test_counters_are_exact_while_threads_add_and_others_collect(tmp_path: Path) -> None:
    runs = [RunMetrics(tmp_path) for _ in range(3)]

    def work(run: RunMetrics) -> None:
        for _ in range(50):
            run.add(metrics.VIDEOS, 1, "ok")

    threads = [threading.Thread(target=work, args=(run,)) for run in runs for _ in range(2)]
    for thread in threads:
        thread.start()
    seen = [0.0]
    while any(thread.is_alive() for thread in threads):
        seen.append(collect(tmp_path).get(OK, 0.0))
    for run in runs:
        run.end()
    assert seen == sorted(seen), "a counter never decreases"
    assert collect(tmp_path) == {OK: 300}


def test_a_run_that_cannot_write_its_metrics_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunMetrics(tmp_path)

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path), text)

    monkeypatch.setattr(run_file, "publish_text", full)
    for _ in range(3):
        run.add(metrics.VIDEOS, 1, "ok")
    run.end()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "The metrics of this run are not recorded any more"
    ]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"counters": {"a": "x"}, "gauges": {}}', '{"counters": 1}'])
@pytest.mark.parametrize("name", ["totals.json", "run-a-1-2.json"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, name: str, content: str) -> None:
    atomic.publish_text(tmp_path / name, content)
    with pytest.raises(MetricsError, match=name):
        collect(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for use in (RunMetrics, collect):
        with pytest.raises(FolderNotWritableError, match=r"monitoring\.metrics_folder"):
            use(tmp_path / "file")


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(run_file.FOLDER_VARIABLE, raising=False)
    with run_file.recorded() as run:
        run.add(metrics.VIDEOS, 1, "ok")
    assert list(tmp_path.iterdir()) == []


def test_the_text_is_what_prometheus_reads(tmp_path: Path) -> None:
    run = RunMetrics(tmp_path)
    run.add(metrics.FAILURES, 2, "decode_error")
    run.add(metrics.VIDEO_SECONDS, 12.5)
    families = {each.name: each for each in text_string_to_metric_families(metrics.exposition(collect(tmp_path)))}
    assert {(each.name, each.type) for each in families.values()} == {
        (name.removesuffix("_total"), each.kind) for name, each in metrics.METRICS.items()
    }
    found = {(s.name, *s.labels.values()): s.value for family in families.values() for s in family.samples}
    assert found["reeldex_failures_total", "decode_error"] == 2
    assert found["reeldex_video_seconds_total",] == 12.5
    assert found["reeldex_videos_total", "ok"] == found["reeldex_videos_total", "failed"] == 0, "a rate needs a start"
    assert found["reeldex_runs",] == 1
    run.end()


def test_a_label_is_given_where_a_metric_has_one() -> None:
    with pytest.raises(ValueError, match="reeldex_failures_total"):
        metrics.FAILURES.sample()
    with pytest.raises(ValueError, match="reeldex_runs"):
        metrics.RUNS.sample("x")


def test_files_are_json_that_says_its_version(tmp_path: Path) -> None:
    run = RunMetrics(tmp_path)
    assert {json.loads(file.read_bytes())["version"] for file in tmp_path.glob("run-*.json")} == {1}
    run.end()
