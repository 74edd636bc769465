"""The published embedding's own values, where they lie beside the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.embedding.datasets.options import LsmdcOptions, MsrvttOptions, Youcook2Options
from reeldex.embedding.datasets.records import EvaluationSet
from reeldex.embedding.datasets.registry import DATASETS
from reeldex.embedding.evaluation.evaluate import measure, score
from reeldex.embedding.loss import MaxMarginRankingLoss
from reeldex.embedding.model import TextVideoEmbedding
from reeldex.embedding.options import LossOptions
from reeldex.embedding.training.checkpoint import load_checkpoint
from reeldex.embedding.words.word2vec import open_word_vectors
from tests.embedding import golden

pytestmark = golden.needs_golden_values


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return golden.expected()


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray[Any, Any]]:
    return golden.arrays()


@pytest.fixture
def model() -> TextVideoEmbedding:
    state = torch.load(golden.DATA / "checkpoint.pth", weights_only=True)
    return TextVideoEmbedding.from_state(state)


def test_the_state_dict_has_exactly_the_published_entries(model: TextVideoEmbedding) -> None:
    keys = json.loads((golden.FOLDER.parent / "embedding_keys.json").read_text())
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == keys


def test_dimensions_are_those_of_the_checkpoint(model: TextVideoEmbedding, expected: dict[str, Any]) -> None:
    dims = expected["dims"]
    spec = model.spec
    assert (spec.video_dim, spec.embed_dim) == (dims["feature_dim"], dims["embd_dim"])
    assert (spec.word_dim, spec.sentence_dim, spec.max_words) == (dims["we_dim"], dims["embd_dim"], dims["max_words"])


def test_ranking_losses_and_their_gradients(expected: dict[str, Any], arrays: dict[str, Any]) -> None:
    for case in expected["max_margin_loss"]:
        scores = torch.tensor(arrays[case["scores"]], requires_grad=True)
        loss = MaxMarginRankingLoss(
            LossOptions(
                margin=case["margin"],
                negative_weighting=case["negative_weighting"],
                hard_negative_rate=case["hard_negative_rate"],
            ),
            pairs_per_video=case["n_pair"],
        )(scores)
        loss.backward()
        assert loss.item() == pytest.approx(case["loss"], abs=1e-6, rel=0)
        assert scores.grad is not None
        np.testing.assert_allclose(scores.grad.numpy(), arrays[case["grad"]], rtol=0, atol=1e-6)


def test_six_steps_of_adam(model: TextVideoEmbedding, expected: dict[str, Any], arrays: dict[str, Any]) -> None:
    case = expected["train"]
    videos = torch.tensor(arrays["train_video"]).flatten(0, 1)
    sentences = torch.tensor(arrays["train_text"]).flatten(0, 1)
    ranking = MaxMarginRankingLoss(
        LossOptions(margin=case["margin"], hard_negative_rate=case["hard_negative_rate"]),
        pairs_per_video=case["n_pair"],
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=case["lr"])
    losses = []
    for _ in case["loss_per_step"]:
        optimizer.zero_grad()
        loss = ranking(model(videos, sentences))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(case["loss_per_step"], abs=1e-5, rel=0)
    state = model.state_dict()
    sums = {name: state[name].double().sum().item() for name in case["weight_sums_after"]}
    assert sums == pytest.approx(case["weight_sums_after"], abs=1e-5, rel=0)


@pytest.mark.parametrize("batch_size", [7, 1000])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("msrvtt", MsrvttOptions.published(golden.DATA)),
        ("youcook2", Youcook2Options.published(golden.DATA)),
        ("lsmdc", LsmdcOptions.published(golden.DATA)),
    ],
)
def test_scores_and_metrics_of_the_test_sets(
    name: str, options: object, *, batch_size: int, expected: dict[str, Any], arrays: dict[str, Any], tmp_path: Path
) -> None:
    words = open_word_vectors(golden.DATA / "word2vec.bin", cache_folder=tmp_path)
    model = load_checkpoint(golden.DATA / "checkpoint.pth").model()
    open_evaluation = DATASETS[name].open_evaluation
    assert open_evaluation is not None
    test_set = open_evaluation(options)
    assert isinstance(test_set, EvaluationSet)
    scores = score(model, test_set, words, batch_size)
    np.testing.assert_allclose(scores, arrays[f"sim_{name}"], rtol=0, atol=1e-5)
    found = measure(scores, test_set).directions["text_to_video"].retrieval
    wanted = expected["eval"][name]
    assert (found.recall_at_1, found.recall_at_5, found.recall_at_10) == (wanted["R1"], wanted["R5"], wanted["R10"])
    assert found.median_rank == wanted["MR"]
