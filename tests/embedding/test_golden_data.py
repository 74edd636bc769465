"""The published readers' own values, where they lie beside the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.embedding.captions import grow_window
from reeldex.embedding.datasets import howto100m
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.datasets.records import EvaluationSet
from reeldex.embedding.datasets.registry import DATASETS
from reeldex.embedding.model import TextVideoEmbedding
from reeldex.embedding.words.vectors import WordVectors
from reeldex.embedding.words.word2vec import open_word_vectors
from tests.embedding import golden

pytestmark = golden.needs_golden_values


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> WordVectors:
    return open_word_vectors(golden.DATA / "word2vec.bin", cache_folder=tmp_path_factory.mktemp("words"))


def test_every_caption_grows_to_the_published_window(words: WordVectors) -> None:
    expected, arrays = golden.expected(), golden.arrays()
    opened: dict[tuple[float, int], howto100m.Howto100mTrainingSet] = {}
    for window in expected["howto100m_windows"]:
        setting = (window["min_time"], window["min_words"])
        if setting not in opened:
            options = Howto100mOptions.published(golden.DATA)
            opened[setting] = howto100m.open_training(
                options.replaced(min_seconds=setting[0], min_words=setting[1], max_missing_share=0)
            )
        training = opened[setting]
        grown = grow_window(training.captions.captions(window["video_id"]), window["caption"], *setting)
        assert (grown.start_seconds, grown.end_seconds) == (window["start"], window["end"])
        sample = training.windows(training.video_ids.index(window["video_id"]), [window["caption"]])
        vectors = words.sentence_vectors(sample.captions, expected["dims"]["max_words"])
        assert np.array_equal(vectors[0], arrays[window["text"]])
        assert np.abs(sample.video[0] - arrays[window["video"]]).max() <= 1e-6
    assert len(opened) == 4


@pytest.mark.parametrize(("name", "sentences"), [("msrvtt", 60), ("youcook2", 40), ("lsmdc", 50)])
def test_published_files_give_the_published_scores(words: WordVectors, name: str, sentences: int) -> None:
    expected, arrays = golden.expected(), golden.arrays()
    record = DATASETS[name]
    assert record.open_evaluation
    options: Any = record.options
    held = record.open_evaluation(options.published(golden.DATA).replaced(max_missing_share=0))
    assert isinstance(held, EvaluationSet)
    assert len(held.captions) == len(held.clips) == sentences
    assert held.unusable.complete
    assert held.video_dim == expected["dims"]["feature_dim"]
    model = TextVideoEmbedding.from_state(torch.load(golden.DATA / "checkpoint.pth", weights_only=True)).eval()
    text = torch.from_numpy(words.sentence_vectors(held.captions, expected["dims"]["max_words"]))
    with torch.no_grad():
        scores = model(torch.from_numpy(held.videos(0, sentences)), text).numpy()
    assert np.abs(scores - arrays[f"sim_{name}"]).max() <= 1e-5


@pytest.mark.parametrize(("name", "count"), [("howto100m", 4), ("msrvtt", 24), ("youcook2", 24), ("lsmdc", 24)])
def test_published_files_give_samples_to_train_on(name: str, count: int) -> None:
    record = DATASETS[name]
    options: Any = record.options
    training = record.open_training(options.published(golden.DATA))
    assert len(training) == count
    for index in range(count):
        sample = training.sample(1, 0, index)
        assert sample.video.shape == (1, 128)
        assert sample.video.dtype == np.float32
        assert np.linalg.norm(sample.video[0]) == pytest.approx(2**0.5, abs=1e-5), "two streams, each of norm 1"
        assert sample.captions[0]
    assert training.unusable.complete


def test_clips_of_a_youcook2_video_are_drawn_together() -> None:
    record = DATASETS["youcook2"]
    options: Any = record.options
    training = record.open_training(options.published(Path(golden.DATA)).replaced(n_pair=3))
    assert training.pairs_per_sample == 3
    sample = training.sample(0, 0, 0)
    assert sample.video.shape == (3, 128)
    assert len({clip_id.rpartition("_")[0] for clip_id in sample.clip_ids}) == 1
