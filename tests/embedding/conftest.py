"""Word vectors in a file, features in a store, and captions that go with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from tests.embedding.feature_files import VIDEOS, make_store, rows_of
from tests.embedding.word_sources import WORDS

if TYPE_CHECKING:
    from gensim.models import KeyedVectors


@pytest.fixture
def vectors() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(len(WORDS), 8)).astype(np.float32)


@pytest.fixture
def keyed(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> KeyedVectors:
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(8)
    keyed.add_vectors(WORDS, vectors)
    return keyed


@pytest.fixture
def source(tmp_path: Path, keyed: KeyedVectors) -> Path:
    keyed.save_word2vec_format(str(tmp_path / "words.bin"), binary=True)
    return tmp_path / "words.bin"


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make_store` makes, to be copied: making it takes longer."""
    folder = tmp_path_factory.mktemp("made")
    make_store(folder, {f"{each}.mp4": rows_of(each) for each in VIDEOS})
    return folder


@pytest.fixture
def store(tmp_path: Path, store_template: Path) -> FeatureLocation:
    shutil.copytree(store_template, tmp_path, dirs_exist_ok=True)
    return FeatureLocation(store=tmp_path / "store")


@pytest.fixture
def narrated(tmp_path: Path, store: FeatureLocation) -> Howto100mOptions:
    spoken = {
        each: {"start": [0, 3, 7, 12], "end": [3, 7.5, 9, 15], "text": ["a", "b it's", "c", "d"]} for each in VIDEOS
    }
    (tmp_path / "captions.json").write_text(json.dumps(spoken))
    (tmp_path / "h.csv").write_text("video_id,category_1,task_id\n" + "".join(f"{each},x,1\n" for each in VIDEOS))
    return Howto100mOptions(
        csv=tmp_path / "h.csv",
        captions=tmp_path / "captions.json",
        captions_cache=tmp_path / "captions-cache",
        features=store,
        n_pair=8,
    )


@pytest.fixture
def shared() -> Path:
    folder = Path(__file__).resolve().parents[2].parent / "shared"
    if not (folder / "cases").is_dir():
        pytest.skip(f"the shared cases are not at {folder}")
    return folder
