"""The examples of docs/python-api.md, executed one after the other in a folder with the files that they name."""

from __future__ import annotations

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from tests.cache import cache_of_a_test
from tests.conftest import MakeVideo
from tests.search.library import SPEC, VOCABULARY, eight_videos, make_library

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python-api.md"


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    library = make_library(tmp_path, eight_videos())
    library.build()
    rows = [f"{word} {' '.join(map(str, library.words.vector(word)))}" for word in VOCABULARY]
    (tmp_path / "words.txt").write_text("\n".join([f"{len(rows)} {SPEC.word_dim}", *rows]) + "\n")
    make_video(tmp_path / "a.mp4", seconds=2)
    (tmp_path / "broken.mp4").write_text("no video")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_of_a_test(tmp_path / "cache")))
    examples = list(Sybil(parsers=[PythonCodeBlockParser()]).parse(PAGE).examples())
    assert len(examples) == 6
    for example in examples:
        example.evaluate()
