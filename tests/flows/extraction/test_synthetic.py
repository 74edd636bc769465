"""The whole way, from pictures to sentences that find them: real ffmpeg, untrained networks, a real training.

The networks are small. `make run` does the same with those of the paper and prints their figures, which no test checks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reeldex.cli.quickstart import TRAINING
from reeldex.embedding.datasets import msrvtt
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.options import MsrvttOptions
from reeldex.embedding.evaluation.evaluate import measure
from reeldex.extractors import synthetic
from tests.conftest import Reeldex

SPACES = ("wide2d.random", "wide3d.random")
CASE = Path(__file__).resolve().parents[3].parent / "shared" / "cases" / "evaluation__two-captions-a-video.csv"


def test_what_is_synthetic_is_told_apart_and_never_tested_on_what_was_trained_on() -> None:
    train, test = synthetic.split()
    assert len({video.video_id for video in [*train, *test]}) == len(train) + len(test) == 4 * 3 * 3 * 3
    assert {said for video in train for said in video.captions()}.isdisjoint(
        {said for video in test for said in video.captions()}
    )
    assert synthetic.split() == (train, test)
    for kinds, of in (
        (synthetic.COLOURS, "colour"),
        (synthetic.TEXTURES, "texture"),
        (synthetic.SHAPES, "shape"),
        (synthetic.MOTIONS, "motion"),
    ):
        assert {getattr(video, of) for video in train} == set(kinds), "every word was heard while training"


def _a_perfect_model_is_as_good_with_two_sentences_a_video(folder: Path, store: Path) -> None:
    """Rank the real features of the synthetic videos by themselves: two videos look alike to random networks."""
    recalls = []
    for file in (folder / "MSRVTT_JSFUSION_test.csv", CASE):
        options = MsrvttOptions(
            test_csv=file, features=FeatureLocation(store=store, space_2d=SPACES[0], space_3d=SPACES[1])
        )
        test_set = msrvtt.open_evaluation(options)
        videos = test_set.videos(0, len(test_set.clips))
        vectors, same = np.unique(videos, axis=0, return_inverse=True)
        scores = (vectors @ vectors.T)[np.ix_(same[test_set.right_clips], same)]
        found = measure(scores, test_set).directions["text_to_video"].retrieval
        recalls.append((len(test_set.clips), found.recall_at_1, found.median_rank))
    assert recalls[0] == recalls[1]
    assert recalls[0][1] >= 34 / 36


@pytest.mark.slow
def test_the_embedding_finds_synthetic_videos_it_has_not_seen(reeldex: Reeldex, tmp_path: Path) -> None:
    _, test = synthetic.make_synthetic(tmp_path)
    store = tmp_path / "store"
    extracted = reeldex(
        *("extract", tmp_path / "videos", "--store", store, "--device", "cpu", "--json"),
        *("--weights", "random", "--extractors", "wide2d,wide3d"),
    )
    assert extracted.status == 0, extracted.err
    assert extracted.json["extracted_ok"] == 4 * 3 * 3 * 3
    if CASE.is_file():
        _a_perfect_model_is_as_good_with_two_sentences_a_video(tmp_path, store)
    spaces = ("--space-2d", SPACES[0], "--space-3d", SPACES[1])
    data = ("--dataset", "msrvtt", "--store", store, *spaces, "--data", tmp_path, "--word-cache", tmp_path / "cache")
    trained = reeldex("train", *data, "--out", tmp_path / "run", "--train-word-vectors", *TRAINING, "--device", "cpu")
    assert trained.status == 0, trained.err
    # The last checkpoint: which one is best was not chosen by the videos it is tested on.
    answer = reeldex("evaluate", *data, "--checkpoint", tmp_path / "run" / "last.pth", "--device", "cpu", "--json")
    assert answer.status == 0, answer.err
    found = answer.json["sets"]["msrvtt"]
    assert (found["sentences"], found["clips"], found["unusable_videos"]) == (len(test), len(test), 0)
    chance = 1 / len(test)
    for direction in ("text_to_video", "video_to_text"):
        assert found["directions"][direction]["retrieval"]["recall_at_1"] >= 10 * chance
