from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.flows.runs import pipeline_artifact
from reeldex.flows.runs.pipeline_artifact import StepsFound, how_to_search, publish_pipeline


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    # The subject is what is published; the system tests show it on a server.
    monkeypatch.setattr(pipeline_artifact, "publish_markdown", lambda *given: found.append(given))
    return found


def _fails(_: object) -> str:
    raise OSError("no | space")


def test_a_pipeline_that_fails_shows_what_its_steps_found_before(published: list[tuple[str, str]]) -> None:
    found = StepsFound()
    assert found.of("features", lambda request: f"{request} videos")(6) == "6 videos"
    with pytest.raises(OSError, match="no"), found.published_on_failure():
        found.of("index", _fails)(None)
    (text, description) = published[0]
    assert "| features | 6 videos |" in text
    assert "| index | Did not finish: no \\| space |" in text
    assert "**Retry**" in text
    assert description == "Summary: features, index"


def test_a_pipeline_that_could_not_begin_shows_nothing(published: list[tuple[str, str]]) -> None:
    with pytest.raises(OSError, match="no"), StepsFound().published_on_failure():
        _fails(None)
    assert published == []


def test_a_pipeline_ends_with_how_to_search(published: list[tuple[str, str]]) -> None:
    publish_pipeline({"features": "6 videos", "index": "Index built\n  recall"}, Path("/a lab/index"))
    text, _ = published[0]
    assert "| index | Index built recall |" in text
    assert "reeldex page --index '/a lab/index'\nreeldex search --index '/a lab/index' " in text
    assert how_to_search(Path("/i")) in text.replace("'/a lab/index'", "/i")
