"""Of runs that would do the same, one waits for the store at most."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reeldex.flows.config.pipeline import WhenBusy
from reeldex.flows.extraction.store_use import RunSkippedError, store_use
from reeldex.storage.errors import StoreBusyError
from reeldex.storage.store import FeatureStore
from tests.waiting import wait_until

REQUEST = (("videos",), "settings")


def _wait(store: FeatureStore, request: object, ended: list[bool]) -> threading.Thread:
    """Wait for the store in a thread, which records whether it waited."""

    def work() -> None:
        with store_use(store, WhenBusy.WAIT, 60, 60, request) as use:
            ended.append(use.waited)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_second_run_with_the_request_of_one_that_waits_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = FeatureStore(tmp_path / "store", create=True)
    ended: list[bool] = []
    with store_use(store, WhenBusy.WAIT, 60, 60, REQUEST) as use:
        assert not use.waited
        first = _wait(store, REQUEST, ended)
        wait_until(lambda: list((store.path / "claims").glob("waiting-*.json")), 20)
        with pytest.raises(RunSkippedError, match="already waits to do the same"):
            store_use(store, WhenBusy.WAIT, 60, 60, REQUEST).__enter__()
        other = _wait(store, (("other videos",), "settings"), ended)
        each = _wait(store, None, ended)
        wait_until(lambda: caplog.text.count("Waiting for at most") == 3, 20)
        assert len(list((store.path / "claims").glob("waiting-*.json"))) == 2
    for thread in (first, other, each):
        thread.join(60)
    assert ended == [True, True, True]
    with store_use(store, WhenBusy.WAIT, 60, 60, REQUEST) as use:
        assert not use.waited, "the place is free again"
    assert store.ids() == []


@pytest.mark.parametrize(("when_busy", "error"), [(WhenBusy.SKIP, RunSkippedError), (WhenBusy.FAIL, StoreBusyError)])
def test_other_runs_do_not_wait(tmp_path: Path, when_busy: WhenBusy, error: type[Exception]) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    with store.lock(), pytest.raises(error, match="is in use by process"):
        store_use(store, when_busy, 60, 60, REQUEST).__enter__()
    assert list((store.path / "claims").iterdir()) == []
