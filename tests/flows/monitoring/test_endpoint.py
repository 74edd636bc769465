"""`reeldex metrics`, over real HTTP, and the metrics of a real extraction."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reeldex.cli.main import main
from tests.conftest import MakeVideo, Reeldex
from tests.flows.stores import WIDE


@contextmanager
def served(folder: Path, *options: str) -> Iterator[str]:
    """Serve a folder in a process of its own; yields the address before `/metrics`."""
    program = [sys.executable, "-m", "reeldex", "metrics", str(folder), "--port", "0", *options]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("Metrics: http://127.0.0.1:")
            yield line.split()[1].removesuffix("/metrics")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def fetch(address: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def values(text: str) -> dict[tuple[str, ...], float]:
    """Return the samples by their names and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_and_health_checks_are_answered_until_it_is_stopped(tmp_path: Path) -> None:
    with served(tmp_path / "metrics") as address:
        status, kind, text = fetch(f"{address}/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert values(text)["reeldex_runs",] == 0
        assert fetch(f"{address}/health")[::2] == (200, "ok\n")
        assert fetch(f"{address}/else")[0] == 404
        (tmp_path / "metrics/totals.json").write_text("{", encoding="utf-8")
        status, _, text = fetch(f"{address}/metrics")
        assert status == 500
        assert "totals.json" in text
        assert fetch(f"{address}/health")[0] == 200


def test_wrong_use_is_an_error_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REELDEX_METRICS_FOLDER", raising=False)
    assert main(["metrics"]) == 2
    assert "reeldex metrics DIR" in capsys.readouterr().err
    assert main(["metrics", str(tmp_path), "--port", "70000"]) == 2
    assert "--port 70000: must be 0 to 65535" in capsys.readouterr().err
    with served(tmp_path / "metrics") as address:
        port = address.rpartition(":")[2]
        assert main(["metrics", str(tmp_path), "--port", port]) == 2
        assert f"port {port} of 127.0.0.1" in capsys.readouterr().err
    assert main(["metrics", str(tmp_path), "--host", "not.an.address.invalid"]) == 2
    assert "not.an.address.invalid" in capsys.readouterr().err


@pytest.mark.slow
def test_an_extraction_exports_what_it_did(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    folder = tmp_path / "metrics"
    make_video(tmp_path / "videos/a.mp4", seconds=2)
    make_video(tmp_path / "videos/b.mp4", seconds=1)
    (tmp_path / "videos/c.mp4").write_bytes(b"not a video")
    answer = reeldex("extract", tmp_path / "videos", "--store", tmp_path / "store", *WIDE, "--metrics-folder", folder)
    assert answer.status == 1
    found = values(reeldex("metrics", folder, "--once").out)
    assert found["reeldex_videos_total", "ok"] == 2
    assert found["reeldex_videos_total", "failed"] == found["reeldex_failures_total", "unreadable"] == 1
    assert found["reeldex_video_seconds_total",] == pytest.approx(3, abs=0.2)
    assert found["reeldex_shards_total", "done"] == 1
    for name in ("decode", "device", "waiting"):
        assert 0 < found[f"reeldex_{name}_seconds_total",] < 600
    gauges = ("runs", "shards_running", "shards_waiting", "videos_waiting", "decoded_queue_depth")
    assert [found[f"reeldex_{name}",] for name in gauges] == [0] * 5
