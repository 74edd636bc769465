"""Progress: each sink as often as it wants, the last state where it matters, sinks by context."""

from __future__ import annotations

import contextvars
import logging
import threading
from pathlib import Path

import pytest

from reeldex.extractors.weights import OnBytes, PretrainedWeights
from reeldex.flows.progress import downloads
from reeldex.flows.progress.progress import Progress, Sink, Snapshot, current_sinks, shown_on
from reeldex.flows.progress.sinks import LogSink


class Recorder:
    """A sink that remembers what it was shown."""

    def __init__(self, every_seconds: float, *, shows_last: bool) -> None:
        self.every_seconds = every_seconds
        self.shows_last = shows_last
        self.done: list[int] = []

    def show(self, snapshot: Snapshot) -> None:
        self.done.append(snapshot.done)


def test_each_sink_is_shown_as_often_as_it_wants() -> None:
    always, seldom, never = (
        Recorder(0.0, shows_last=True),
        Recorder(3600.0, shows_last=True),
        Recorder(3600.0, shows_last=False),
    )
    done, described = 0, 0

    def describe(_: object) -> Snapshot:
        nonlocal described
        described += 1
        return Snapshot(done, 3, "videos", "", "")

    progress = Progress(describe, always, seldom, never)
    for done in (1, 2, 3):
        progress.update(last=done == 3)
    assert (always.done, seldom.done, never.done) == ([1, 2, 3], [3], [])
    quiet = Progress(describe, never)
    quiet.update()
    assert described == 3, "nothing is described that is not shown"


def test_sinks_reach_work_in_copies_of_the_context() -> None:
    outer, inner = Recorder(0.0, shows_last=True), Recorder(0.0, shows_last=True)
    found: list[tuple[Sink, ...]] = []
    with shown_on(outer):
        with shown_on(inner):
            context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: found.append(context.run(current_sinks)))
        thread.start()
        thread.join()
        assert current_sinks() == (outer,)
    assert found == [(outer, inner)]
    assert current_sinks() == ()


def test_the_log_gets_the_sentence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "reeldex")
    LogSink().show(Snapshot(1, 4, "videos", "", "1 of 4 videos done"))
    assert set(caplog.messages) == {"1 of 4 videos done"}


@pytest.mark.parametrize(("done", "total", "percent"), [(0, None, 0.0), (0, 0, 0.0), (1, 4, 25.0), (5, 4, 100.0)])
def test_percent(done: int, total: int | None, percent: float) -> None:
    assert Snapshot(done, total, "", "", "").percent == percent


def test_a_download_is_shown_on_the_sinks_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The network is the only part that is replaced: the download itself is tested with a real server.
    def fetch(_: PretrainedWeights, __: Path | None, folder: Path | None, on_bytes: OnBytes) -> Path:
        for received in (1_000_000, 2_500_000):
            on_bytes("net.pth", received, 2_500_000)
        return (folder or tmp_path) / "net.pth"

    monkeypatch.setattr(downloads, "find_or_fetch", fetch)
    recorder = Recorder(0.0, shows_last=True)
    with shown_on(recorder):
        found = downloads.find_or_fetch_shown(PretrainedWeights("v1", "http://x/net.pth"), None, tmp_path)
    assert found == tmp_path / "net.pth"
    assert recorder.done == [1, 3]
