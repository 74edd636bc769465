"""What the UI shows of runs and stores, on a real server: true, complete, and legible at 1440 pixels."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.processes import running_processes
from tests.system.browsers import needs_browser
from tests.system.prefect_page import PrefectPage, prefect_page
from tests.system.running import ReeldexUp
from tests.system.shared_up.conftest import LabStoreRuns

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def ui(browser: Browser, up: ReeldexUp) -> Iterator[PrefectPage]:
    with prefect_page(browser, up, width=1440, height=900) as page:
        yield page


def test_a_store_has_a_page_with_its_history_over_all_runs(up: ReeldexUp, lab_store_runs: LabStoreRuns) -> None:
    artifacts = up.api("/artifacts/filter", {"artifacts": {"key": {"any_": ["reeldex-store-lab-store"]}}})
    versions = [each for each in artifacts if each["flow_run_id"] in lab_store_runs]
    assert len(versions) == len(lab_store_runs)
    latest = max(versions, key=lambda version: str(version["created"]))
    assert latest["description"].startswith("Store Lab store: 4 of 4 videos have features, 2 of 2 shards done")
    rows = [line.split(" | ") for line in latest["data"].splitlines() if line.startswith("| 20")]
    assert [row[1].partition(" ")[0] for row in rows] == ["verify", "rerun-failed", "rerun-failed", "extract"]
    assert [row[3] for row in rows] == ["4 of 4", "4 of 4", "3 of 4", "3 of 4"]
    assert [row[4] for row in rows] == ["0", "0", "1 unreadable", "1 unreadable"]
    assert all("B" in row[5] for row in rows)
    assert ["s of video per second" in row[6] for row in rows] == [False, True, False, True]

    shutil.copytree(up.folder / "Lab store", up.folder / "elsewhere" / "Lab store")
    other = up.launch("verify/verify", store="elsewhere/Lab store")
    assert up.ended(other)["name"] == "Completed"
    assert "| 4 of 4 |" in up.artifacts(other)["Store Lab store"]["data"]
    assert up.artifacts(other)["Store Lab store"]["key"].startswith("reeldex-store-lab-store-"), "a history of its own"


def test_the_progress_of_an_ended_attempt_counts_no_longer(up: ReeldexUp) -> None:
    shutil.copytree(up.folder / "good", up.folder / "half")
    # The network takes long over it: a video that is read slowly arrives in few parts, between which nothing is known.
    shutil.copy(up.folder / "long" / "long 0.mp4", up.folder / "half" / "z.mp4")
    run = up.launch("extract/extract", source="half", store="half-store", extractors=["resnet152"])

    def progress() -> str:
        return str(up.artifacts(run).get("Progress", {}).get("description", ""))

    up.until(lambda: running_processes(f"file:{up.folder / 'half' / 'z.mp4'}"))
    up.until(lambda: progress().endswith(" left"))
    os.kill(up.process_of(run), signal.SIGKILL)
    assert up.ended(run)["type"] == "CRASHED"
    up.until(lambda: progress().endswith("; ended"), seconds=60)
    assert " left" not in progress()

    shutil.copy(up.folder / "good" / "good 0.mp4", up.folder / "half" / "z.mp4")
    assert up.retry(run)["type"] == "COMPLETED"
    cards = up.api("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": ["progress"]}}})
    assert len(cards) == 2
    assert not [card["description"] for card in cards if " left" in card["description"]]


@pytest.mark.usefixtures("lab_store_runs")
def test_advice_names_fields_and_deployments_and_lines_end_as_lines(up: ReeldexUp) -> None:
    run = up.launch("rerun-failed/rerun-failed", store="Lab store", shards=[0], broken_videos=True)
    message = up.ended(run)["message"]
    assert '("Retry failed videos")' in message
    lines = [line["message"] for line in up.log(run)]
    assert any('("Retry failed videos")' in line for line in lines)
    assert not [line for line in [message, *lines] if "--failed-videos" in line or "\\n" in line]


def test_a_run_ends_with_where_its_time_went(up: ReeldexUp, lab_store_runs: LabStoreRuns) -> None:
    lines = [line["message"] for line in up.log(lab_store_runs.extracted)]
    assert any(line.startswith("time: ") and "-bound: networks " in line for line in lines)
    assert any("video-hours per day" in line for line in lines)
    summary = up.artifacts(lab_store_runs.extracted)["Summary"]["data"]
    assert "| Bottleneck | " in summary
    assert "| Video-hours per day and device | " in summary
    assert "| Estimate | " in summary


@needs_browser
def test_the_printed_address_opens_the_new_ui_whose_forms_say_what_they_do(up: ReeldexUp, ui: PrefectPage) -> None:
    ui.page.goto(up.page_url)
    ui.page.get_by_role("link", name="Switch to V1 UI").or_(ui.page.get_by_text("Switch to V1 UI")).first.wait_for()
    ui.page.goto(up.url)
    ui.page.get_by_text("Switch to V1 UI").first.wait_for()
    for name, what in (
        ("extract", "Extract features of every video in a folder"),
        ("verify", "Read every byte of a store"),
    ):
        ui.open_form(f"{name}/{name}")
        ui.page.get_by_text(what).wait_for()


@needs_browser
def test_no_column_of_a_table_is_cut_off(up: ReeldexUp, ui: PrefectPage, lab_store_runs: LabStoreRuns) -> None:
    for caption in ("Failed videos", "Summary"):
        ui.go(f"/runs/flow-run/{lab_store_runs.extracted}")
        ui.open_artifact(caption)
        ui.page.locator("main table").first.wait_for()
        cut_off = ui.page.evaluate(
            """() => [...document.querySelectorAll('main table')].filter(table => {
                const box = table.getBoundingClientRect(), room = table.parentElement.getBoundingClientRect();
                return box.right > room.right + 1 || box.right > innerWidth;
            }).length"""
        )
        assert cut_off == 0, caption
    assert "what happened" in up.table(lab_store_runs.extracted, "Failed videos")[0]
