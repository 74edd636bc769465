"""Makes the pictures of README.md: `python -m tests.system.screenshots docs/images`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from reeldex.extractors.samples import make_samples
from tests.system.browsers import chromium
from tests.system.prefect_page import PrefectPage, prefect_page
from tests.system.running import ReeldexUp

_PIPELINE = """
extract: {weights: random, shard_videos: 2}
schedules:
  - {name: kitchen every night, source: kitchen-videos, store: features, cron: "0 2 * * *", timezone: Europe/Paris}
"""


def main(out: Path) -> None:
    """Run `reeldex up` over sample videos and photograph its pages."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        up = ReeldexUp(Path(folder), _PIPELINE)
        make_samples(up.folder / "kitchen-videos")
        (up.folder / "kitchen-videos" / "half a download.mp4").write_bytes(b"\0" * 5000)
        up.start()
        try:
            with chromium() as browser, prefect_page(browser, up, height=860) as ui:
                _photograph(ui, out)
        finally:
            up.stop()


def _photograph(ui: PrefectPage, out: Path) -> None:
    def shot(name: str) -> None:
        ui.page.wait_for_timeout(2500)  # graphs and fonts come in late
        ui.page.screenshot(path=out / f"{name}.png")

    ui.go("/deployments")
    ui.page.get_by_role("link", name="kitchen every night").wait_for()
    shot("deployments")
    ui.open_form("extract/extract")
    ui.field("Videos").fill("kitchen-videos")
    ui.field("Store").fill("features")
    shot("form")
    ui.submit()
    ui.shows_state("Completed with failures")
    ui.tab("Artifacts")
    shot("run")
    for caption, name in (("Failed videos", "failed-videos"), ("Pictures", "pictures"), ("Summary", "summary")):
        ui.open_artifact(caption)
        shot(name)
        ui.page.go_back()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
