"""The flows as Prefect runs them: the states they end in, their tasks and their artifacts, on a Prefect server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State

from reeldex.flows.extract import extract
from reeldex.flows.extraction.calibration import Estimated, change_calibration, load_calibration
from reeldex.flows.rerun import rerun
from reeldex.flows.runs import artifacts
from reeldex.flows.verify import verify
from reeldex.storage.errors import StoreBusyError
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("flow_runs_on_server")]

COMPUTE: dict[str, Any] = {"device": "cpu", "settings": {"compute.retries": 0}}
OPTIONS: dict[str, Any] = {
    "extractors": ["wide2d"],
    "network_weights": "random",
    "device": "cpu",
    "settings": {"compute.retries": 0, "extract.shard_videos": 2},
}


@pytest.fixture
def folder(tmp_path: Path, make_video: MakeVideo) -> Path:
    for index in range(3):
        make_video(tmp_path / "videos" / f"{index}.mp4", seconds=0.4)
    return tmp_path


def _run(flow: Any, store: Path, **parameters: Any) -> State[Any]:  # noqa: ANN401 - flows differ in their parameters
    state: State[Any] = flow(store=str(store), **parameters, return_state=True)
    return state


def _extract(folder: Path, **more: Any) -> State[Any]:  # noqa: ANN401 - the flow's
    return _run(extract, folder / "store", source=str(folder / "videos"), **{**OPTIONS, **more})


def _run_id(state: State[Any]) -> UUID:
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    return run_id


def _artifacts(state: State[Any]) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        ours = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[_run_id(state)]))
        return {
            (each.description or "").partition(":")[0]: each.data
            for each in client.read_artifacts(artifact_filter=ours)
        }


def _task_names(state: State[Any]) -> list[str]:
    with get_client(sync_client=True) as client:
        ours = FlowRunFilter(id=FlowRunFilterId(any_=[_run_id(state)]))
        return sorted(task.name for task in client.read_task_runs(flow_run_filter=ours))


def test_a_run_is_completed_then_there_is_nothing_new(folder: Path) -> None:
    state = _extract(folder)
    assert (state.name, state.type.value) == ("Completed", "COMPLETED")
    assert state.result().extracted_ok == 3
    assert _task_names(state) == ["plan", "shard-00000 (2 videos)", "shard-00001 (1 video)"]
    artifacts = _artifacts(state)
    assert set(artifacts) == {"Progress", "Summary", "Pictures", "Store store"}
    assert "| Shards done in this run | 2 |" in artifacts["Summary"]
    assert "| Videos with features | 3 of 3 |" in artifacts["Store store"]
    state = _extract(folder)
    assert (state.name, state.type.value) == ("Nothing new", "COMPLETED")
    assert state.message == "Nothing to do."
    first, second = _artifacts(state)["Store store"].splitlines()[-2:]
    assert (first.count("| - |"), second.count("s of video per second")) == (1, 1), "newest first"


def test_a_run_is_compared_with_the_estimate_of_a_dry_run(folder: Path) -> None:
    estimated = Estimated(seconds_of_video=1.2, total_seconds=1000.0, uncorrected_seconds=900.0)
    change_calibration(lambda known: known.with_estimate(str(folder / "store"), estimated))
    state = _extract(folder)
    report = state.result()
    assert (report.estimate.seconds, report.estimate.after_videos) == (1000.0, None)
    assert "1000 s by --dry-run, actually" in _artifacts(state)["Summary"]
    assert str(folder / "store") not in load_calibration().estimates


def test_a_broken_video_is_counted_in_a_completed_state(folder: Path) -> None:
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    state = _extract(folder)
    assert (state.name, state.type.value) == ("Completed with failures", "COMPLETED")
    assert (state.message or "").startswith("1 video has no features: 1 unreadable.")
    assert "broken.mp4" in _artifacts(state)["Failed videos"]


def test_a_lost_shard_fails_the_run_and_rerun_failed_finishes_it(folder: Path) -> None:
    FeatureStore(folder / "store", create=True)
    in_the_way = folder / "store" / "features" / "wide2d.random" / "shard-00001.h5"
    in_the_way.mkdir(parents=True)
    state = _extract(folder)
    assert state.type.value == "FAILED"
    assert "1 shard LOST: 00001" in (state.message or "")
    assert "| 00001 |" in _artifacts(state)["Summary"]
    in_the_way.rmdir()
    state = _run(rerun, folder / "store", **COMPUTE)
    assert state.name == "Completed"
    assert _task_names(state) == ["plan", "shard-00001 (1 video)"]


def test_a_store_in_use_is_left_to_a_later_run_or_refused(folder: Path) -> None:
    assert _extract(folder).name == "Completed"
    with FeatureStore(folder / "store").lock():
        skipped = _extract(folder, when_busy="skip")
        assert (skipped.name, skipped.type.value) == ("Skipped", "COMPLETED")
        refused = _extract(folder, when_busy="fail")
        assert refused.type.value == "FAILED"
        with pytest.raises(StoreBusyError, match="is in use by process"):
            refused.result()
        late = _extract(folder, when_busy="wait", wait_seconds=0.2)
        assert "is in use by process" in (late.message or "")


def test_verify_fails_on_damage_and_lists_it(folder: Path) -> None:
    assert _extract(folder).name == "Completed"
    state = _run(verify, folder / "store")
    assert (state.name, (state.message or "").startswith("No damage found: ")) == ("Completed", True)
    damaged = folder / "store" / "features" / "wide2d.random" / "shard-00000.h5"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    state = _run(verify, folder / "store")
    assert state.type.value == "FAILED"
    assert "shard-00000.h5" in _artifacts(state)["Damages"]
    assert _task_names(_run(rerun, folder / "store", **COMPUTE)) == ["plan", "shard-00000 (2 videos)"]
    assert _run(verify, folder / "store").name == "Completed"
    damaged.unlink()
    damaged.symlink_to(folder / "not mounted")
    state = _run(verify, folder / "store")
    assert state.type.value == "FAILED"
    assert (state.message or "").startswith("1 file cannot be read: ")
    assert "mount its disk" in _artifacts(state)["Damages"]


def test_a_store_made_with_other_settings_is_refused_before_any_work(folder: Path) -> None:
    assert _extract(folder).name == "Completed"
    store = FeatureStore(folder / "store")
    fp16 = {"settings": {**OPTIONS["settings"], "compute.precision": "fp16"}}
    state = _extract(folder, **fp16)
    assert "needs a CUDA device" in (state.message or "")
    state = _extract(folder, **fp16, device="auto")
    assert state.type.value == "FAILED"
    assert "precision" in (state.message or "")
    assert _task_names(state) == []
    shutil.rmtree(store.path)


def test_a_server_that_takes_no_artifact_costs_no_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A server that fails at this one moment is not available otherwise.
    def refuses(*_: object, **__: object) -> None:
        raise httpx.ConnectError("connection refused")

    _extract(folder)
    monkeypatch.setattr(artifacts, "can_be_seen", lambda: True)
    monkeypatch.setattr(artifacts, "create_markdown_artifact", refuses)
    damaged = next((folder / "store" / "features").rglob("shard-00000.h5"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    state = _run(verify, folder / "store")
    assert state.message is not None
    assert state.message.startswith("2 damages found"), "the verdict is the store's, not the server's"


def test_a_retried_run_does_not_create_a_store_in_place_of_the_one_that_it_had(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _extract(folder).name == "Completed"
    store = folder / "store"
    # As a disk that is unmounted, which only root can do.
    shutil.rmtree(store)
    store.mkdir()
    # Prefect's own way to set what a run knows of itself: the second attempt, as after Retry.
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", "2")
    state = _extract(folder)
    assert state.type.value == "FAILED"
    assert "is no longer there" in (state.message or "")
    assert list(store.iterdir()) == []
    monkeypatch.delenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT")
    assert _extract(folder).name == "Completed", "a store that was deleted on its disk is created again"
