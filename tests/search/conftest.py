from __future__ import annotations

from pathlib import Path

import pytest

from tests.search.library import Library, eight_videos, make_library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return make_library(tmp_path / "library", eight_videos())
