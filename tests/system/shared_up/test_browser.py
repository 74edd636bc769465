"""What a person does in the Prefect UI, done in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from reeldex.storage.store import FeatureStore
from tests.processes import running_processes
from tests.system.browsers import needs_browser
from tests.system.prefect_page import PrefectPage, prefect_page
from tests.system.running import ReeldexUp

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def ui(browser: Browser, up: ReeldexUp) -> Iterator[PrefectPage]:
    with prefect_page(browser, up) as page:
        yield page


def test_a_folder_is_extracted_from_the_form_and_its_broken_video_again(up: ReeldexUp, ui: PrefectPage) -> None:
    shutil.copytree(up.folder / "mixed", up.folder / "kitchen-videos")
    ui.open_form("extract/extract", from_list=True)
    for explanation in (
        "A folder of videos, one video, a pattern, or a list (.txt, .csv, .tsv, .jsonl); or a URL.",
        "Any other keys of pipeline.yaml for this run, nested or dotted, such as",
        "pretrained: the published weights. random: untrained weights, for testing;",
    ):
        ui.page.get_by_text(explanation).wait_for()
    assert ui.field("Device").input_value() == "cpu", "the default of pipeline.yaml"
    assert '"shard_videos": 2' in ui.settings(), "the default of pipeline.yaml"

    ui.field("Videos").fill("kitchen-videos")
    ui.field("Store").fill("kitchen")
    ui.field("Minimum file age (s)").fill("-1")
    assert any("greater than or equal to 0" in said for said in ui.refused())
    ui.field("Minimum file age (s)").fill("0")
    ui.fill_settings('{"extract.shard_videos": 3}')
    run = ui.submit()
    ui.shows_state("Completed with failures")
    ui.page.get_by_text("extract kitchen-videos 2").first.wait_for()  # the run says what it runs
    ui.tab("Task Runs")
    ui.page.get_by_text("shard-00000 (3 videos)").first.wait_for()
    assert up.run(run)["parameters"]["settings"] == {"extract.shard_videos": 3}

    ui.open_artifact("Failed videos")
    ui.page.get_by_text("unreadable", exact=True).first.wait_for()
    ui.page.get_by_text("rerun-failed with this reason").first.wait_for()
    ui.page.go_back()
    ui.open_artifact("Pictures")
    pictures = ui.page.locator("main table img")
    pictures.nth(1).wait_for()
    assert pictures.count() == 2
    assert ui.page.evaluate("[...document.querySelectorAll('main table img')].every(each => each.naturalWidth == 160)")
    ui.page.go_back()
    ui.open_artifact("Summary")
    ui.page.get_by_role("cell", name="Bottleneck").wait_for()
    assert len(FeatureStore(up.folder / "kitchen")) == 2

    shutil.copy(up.folder / "good" / "good 0.mp4", up.folder / "kitchen-videos" / "broken.mp4")
    ui.open_form("rerun-failed/rerun-failed")
    ui.field("Store").fill("kitchen")
    ui.switch_on("Retry failed videos")
    run = ui.submit()
    ui.shows_state("Completed")
    assert [videos for _, videos in up.worked_on(run)] == [1]
    assert len(FeatureStore(up.folder / "kitchen")) == 3


def test_retry_is_pressed_on_a_run_that_lost_a_shard(up: ReeldexUp, ui: PrefectPage) -> None:
    in_the_way = up.stand_in_the_way("retried", 1)
    ui.open_form("extract/extract")
    ui.field("Videos").fill("good")
    ui.field("Store").fill("retried")
    run = ui.submit()
    ui.shows_state("Failed")
    in_the_way.rmdir()
    ui.choose("Retry")
    ui.shows_state("Completed")
    assert up.worked_on(run) == [(0, 2), (1, 2), (1, 0), (2, 2), (1, 0)]


def test_cancel_is_pressed_on_a_run_that_goes_on(up: ReeldexUp, ui: PrefectPage) -> None:
    ui.open_form("extract/extract")
    ui.field("Videos").fill("long")
    ui.field("Store").fill("cancelled in the browser")
    run = ui.submit()
    decoders = f"file:{up.folder / 'long'}"
    up.until(lambda: running_processes(decoders))
    ui.choose("Cancel")
    up.until(lambda: not running_processes(decoders), seconds=10)
    ui.shows_state("Cancelled", seconds=30)
    assert up.run(run)["state"]["type"] == "CANCELLED"


def test_a_schedule_is_paused(up: ReeldexUp, ui: PrefectPage) -> None:
    deployment = up.deployment("extract/nightly")
    # The tests of restarts, which may use the same server before, move it, and leave one that was edited beside it.
    schedule = next(each for each in deployment["schedules"] if each["active"])

    def is_active() -> bool:
        schedules = up.deployment("extract/nightly")["schedules"]
        return next(bool(each["active"]) for each in schedules if each["id"] == schedule["id"])

    ui.go(f"/deployments/deployment/{deployment['id']}")
    switch = ui.page.get_by_role("switch", name=f"At 0{schedule['schedule']['cron'].split()[1]}:00 AM")
    switch.wait_for()
    assert switch.get_attribute("aria-checked") == "true"
    switch.click()
    up.until(lambda: not is_active(), seconds=20)
    switch.click()
    up.until(is_active, seconds=20)


def test_no_page_has_asked_for_anything_outside_this_machine(ui: PrefectPage) -> None:
    assert ui.page.url.startswith("http://127.0.0.1:"), "the tests before have opened pages"
    assert ui.outside == []
