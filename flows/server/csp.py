"""Blocks external requests of Prefect's web page, which contacts an analytics service even with analytics off."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

_POLICY = '<meta http-equiv="Content-Security-Policy" content="connect-src \'self\' ws: http://127.0.0.1:* http://localhost:*">'
_HEAD = "<head>"


def block_external_requests(ui_folder: Path) -> None:
    """Forbid pages served from `ui_folder` (PREFECT_UI_STATIC_DIRECTORY) requests to other hosts.

    Call it after the server has written them.
    """
    pages = sorted(ui_folder.glob("*/index.html"))
    if not pages:
        log.warning("Prefect's web page is not in %s; it may contact an analytics service from the browser.", ui_folder)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        if _POLICY not in text:
            page.write_text(text.replace(_HEAD, _HEAD + _POLICY, 1), encoding="utf-8")
