from __future__ import annotations

import json
from pathlib import Path

import pytest

from reeldex.embedding.datasets.caption_stream import CaptionStream
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.howto100m import open_training
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from tests.embedding import synthetic
from tests.embedding.feature_files import make_store, rows_of


def test_all_captions_of_clips_are_given_again_and_again() -> None:
    samples = synthetic.training_set(per_kind=2)
    texts = CaptionStream(samples)
    said = list(texts)
    assert len(said) == 2 * 2 * len(synthetic.KINDS)
    assert said[:4] == ["the red one", "red again", "the green one", "green again"]
    assert list(texts) == said


def test_howto100m_gives_what_is_said_in_its_usable_videos(tmp_path: Path) -> None:
    store = make_store(tmp_path, {"a": rows_of("a"), "b": rows_of("b")})
    (tmp_path / "v.csv").write_text("video_id\nb\na\nlost\n")
    spoken = {name: {"start": [0, 2], "end": [1, 3], "text": [f"{name} one", f"{name} two"]} for name in "ab"}
    (tmp_path / "c.json").write_text(json.dumps({**spoken, "lost": spoken["a"]}))
    options = Howto100mOptions(
        csv=tmp_path / "v.csv",
        captions=tmp_path / "c.json",
        features=FeatureLocation(store=store.path),
        max_missing_share=0.5,
    )
    assert list(CaptionStream(open_training(options))) == ["b one", "b two", "a one", "a two"]


def test_another_kind_of_training_set_is_refused() -> None:
    with pytest.raises(TypeError, match="captions of a str"):
        CaptionStream("no training set")  # type: ignore[arg-type]
