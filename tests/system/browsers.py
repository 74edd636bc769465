"""Chromium, as the tests and the scripts that make the screenshots start it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The first is the same browser without windows, which takes less of the processor.
_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _PROGRAMS)), None)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed (Debian's packages are `chromium-headless-shell` and `chromium`)"
)
_SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    # Without a GPU, the graph of a run that Prefect's UI draws with WebGL takes most of a core; on a canvas, a third.
    "--disable-3d-apis",
    "--disable-background-networking",
    "--disable-component-update",
    # Pages are open for seconds: what V8 spends on compiling them again, and on threads for its garbage, is a fifth of
    # what they take.
    "--js-flags=--no-opt --no-maglev --single-threaded-gc",
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
