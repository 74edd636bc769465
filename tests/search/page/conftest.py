"""The fixed index with its videos, and a page over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.search.page.fixed_searcher import FixedSearcher, make_fixed_index, page_options, running_page
from tests.search.page.page_requests import client_of


@pytest.fixture(scope="session")
def fixed_index(tmp_path_factory: pytest.TempPathFactory) -> FixedSearcher:
    return make_fixed_index(tmp_path_factory.mktemp("page videos"))


@pytest.fixture
def page(fixed_index: FixedSearcher, tmp_path: Path) -> Iterator[httpx.Client]:
    with (
        running_page(fixed_index, page_options(tmp_path / "cache")) as address,
        client_of(address) as client,
    ):
        yield client
