"""A web server that answers as it is told, and short pauses between attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reeldex.flows.config.fetching import FetchConfig
from reeldex.flows.fetching.services import GIVEN_UP_LATELY
from tests.flows.fetching.web_server import Site, site

Config = Callable[..., FetchConfig]


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A web server; the user has no credentials and no proxy."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with site() as server:
        yield server


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Make options whose cache is the test's own, and whose pauses are short: `config(retries=1)`."""

    def make(**changes: object) -> FetchConfig:
        values = {"cache_folder": tmp_path / "cache", "retry_delay_seconds": 0.01, "retries": 3, "timeout_seconds": 20}
        return FetchConfig.model_validate({**values, **changes})

    GIVEN_UP_LATELY.clear()  # of other tests
    return make
