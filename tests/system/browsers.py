"""Chromium, as the tests and the scripts that make the screenshots start it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian's package is `chromium`)")
_SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    # Without a GPU, the graph of a run that Prefect's UI draws with WebGL takes most of a core; on a canvas, a third.
    "--disable-3d-apis",
    "--disable-background-networking",
    "--disable-component-update",
)


@contextmanager
def chromium(*switches: str) -> Iterator[Browser]:
    """Start a browser, with further switches; it takes seconds, its pages and their contexts do not."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_SWITCHES, *switches])
        try:
            yield browser
        finally:
            browser.close()
