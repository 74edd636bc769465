from __future__ import annotations

import numpy as np
import pytest
import torch

from reeldex.embedding.errors import CheckpointError
from reeldex.embedding.model import ModelSpec, TextVideoEmbedding

SPEC = ModelSpec(video_dim=6, embed_dim=5, word_dim=4, sentence_dim=3, max_words=7)


@pytest.fixture
def model() -> TextVideoEmbedding:
    torch.manual_seed(0)
    return TextVideoEmbedding(SPEC)


def slow_unit(
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    weights: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    x = values @ weights["fc.weight"].T + weights["fc.bias"]
    gated = x / (1 + np.exp(-(x @ weights["cg.fc.weight"].T + weights["cg.fc.bias"])))
    return np.asarray(gated / np.linalg.norm(gated, axis=1, keepdims=True))


def test_scores_are_those_of_the_formula(model: TextVideoEmbedding) -> None:
    videos, sentences = torch.randn(3, 6), torch.randn(2, 7, 4)
    sentences[0, 4:] = 0
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def part(prefix: str) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    words = sentences.double().numpy() @ state["text_pooling.fc.weight"].T + state["text_pooling.fc.bias"]
    text = slow_unit(np.maximum(words, 0).max(axis=1), part("GU_text."))
    video = slow_unit(videos.double().numpy(), part("GU_video."))
    with torch.no_grad():
        np.testing.assert_allclose(model(videos, sentences).numpy(), text @ video.T, atol=1e-6)
        np.testing.assert_allclose(model.embed_videos(videos).numpy(), video, atol=1e-6)
        np.testing.assert_allclose(model.embed_sentences(sentences).numpy(), text, atol=1e-6)


def test_the_unused_statistics_are_no_parameters(model: TextVideoEmbedding) -> None:
    assert not [name for name, _ in model.named_parameters() if "batch_norm" in name]
    assert "GU_text.cg.batch_norm.running_var" in model.state_dict()


def test_sizes_are_read_off_the_shapes(model: TextVideoEmbedding) -> None:
    assert ModelSpec.from_state(model.state_dict(), max_words=7) == SPEC
    weights = {**model.state_dict(), "GU_video.fc.weight": torch.ones(3)}
    with pytest.raises(CheckpointError, match="are matrices"):
        ModelSpec.from_state(weights)
    with pytest.raises(CheckpointError, match="begin with nothing"):
        ModelSpec.from_state({})


def test_sizes_must_be_whole_numbers() -> None:
    with pytest.raises(ValueError, match="video_dim of a model must be a whole number"):
        ModelSpec(video_dim=2.5)  # type: ignore[arg-type]
