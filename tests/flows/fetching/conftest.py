"""A web server that answers as it is told, and short pauses between attempts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from reeldex.flows.config.fetching import FetchConfig
from reeldex.flows.fetching.object_store import ObjectFiles
from reeldex.flows.fetching.patience import Patience, deadline_in
from reeldex.flows.fetching.services import GIVEN_UP_LATELY
from reeldex.flows.fetching.web import WebFiles
from tests.flows.fetching.web_server import Site, site

Config = Callable[..., FetchConfig]
Impatient = Callable[[Collection[str]], None]


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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Impatient:
    """Wait 0.3 s for these URLs alone: `impatient(urls)`.

    For those that stay silent. What a busy machine answers late would be silent, too, with such a limit for all.
    """

    def shortened(request: Callable[..., Any], urls: Collection[str]) -> Callable[..., Any]:
        def brief(service: object, url: str, *arguments: Any) -> Any:  # noqa: ANN401 - of either kind of service
            *given, patience = arguments
            assert isinstance(patience, Patience)
            if url in urls:
                patience = dataclasses.replace(patience, deadline=min(patience.deadline, deadline_in(0.3)))
            return request(service, url, *given, patience)

        return brief

    def of(urls: Collection[str]) -> None:
        for service in (WebFiles, ObjectFiles):
            for name in ("look_at", "opened"):
                monkeypatch.setattr(service, name, shortened(getattr(service, name), frozenset(urls)))

    return of
