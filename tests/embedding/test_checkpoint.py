from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.embedding.errors import CheckpointError, CheckpointMismatchError
from reeldex.embedding.model import _SIZED_BY, ModelSpec, TextVideoEmbedding
from reeldex.embedding.training import random_states
from reeldex.embedding.training.checkpoint import (
    Checkpoint,
    Origin,
    TrainingState,
    load_checkpoint,
    require_features,
    require_training,
    require_word_vectors,
    save_checkpoint,
)
from reeldex.storage.schema import JSON
from tests.system_faults import make_unreadable

SPEC = ModelSpec(video_dim=6, embed_dim=5, word_dim=4, sentence_dim=3, max_words=7)
FEATURES: dict[str, JSON] = {
    "2d": {"space": "net2d.v1", "fingerprint": {"weights": "aa", "fps": 1}},
    "3d": {"space": "net3d.v1", "fingerprint": {"weights": "bb", "fps": 24, "mean": [0.5, 1.5]}},
}
ORIGIN = Origin("abc", FEATURES, {"lr": 1e-4, "name": "été", "nested": {"a": [1, None, True]}})


@pytest.fixture
def model() -> TextVideoEmbedding:
    torch.manual_seed(0)
    return TextVideoEmbedding(SPEC)


@pytest.fixture
def trained(model: TextVideoEmbedding) -> Checkpoint:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.randn(4, 6), torch.randn(4, 7, 4)).sum().backward()
    optimizer.step()
    state = TrainingState(2, 3, 11, 0.75, None, optimizer.state_dict(), {}, random_states.capture())
    return Checkpoint(SPEC, model.state_dict(), ORIGIN, state)


@pytest.mark.slow
def test_a_checkpoint_comes_back_whole(tmp_path: Path, trained: Checkpoint) -> None:
    save_checkpoint(tmp_path / "new/last.pth", trained)
    found = load_checkpoint(tmp_path / "new/last.pth")
    assert (found.spec, found.origin) == (SPEC, ORIGIN)
    assert all(torch.equal(found.weights[name], value) for name, value in trained.weights.items())
    state, wanted = require_training(found, tmp_path), require_training(trained, tmp_path)
    assert replace(state, optimizer={}, random_states={}) == replace(wanted, optimizer={}, random_states={})
    assert state.optimizer["param_groups"] == wanted.optimizer["param_groups"]
    for number, held in wanted.optimizer["state"].items():
        assert all(torch.equal(torch.as_tensor(state.optimizer["state"][number][key]), held[key]) for key in held)


def test_the_same_checkpoint_makes_the_same_bytes(tmp_path: Path, trained: Checkpoint) -> None:
    save_checkpoint(tmp_path / "a.pth", trained)
    save_checkpoint(tmp_path / "b.pth", load_checkpoint(tmp_path / "a.pth"))
    names = [zipfile.ZipFile(tmp_path / name).namelist() for name in ("a.pth", "b.pth")]
    assert names[0] == names[1]
    save_checkpoint(tmp_path / "c.pth", trained)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "c.pth").read_bytes()


def test_a_kill_while_saving_leaves_the_old_checkpoint(
    tmp_path: Path, trained: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pth"
    save_checkpoint(path, trained)
    before = path.read_bytes()

    def die(content: object, file: io.BufferedWriter) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", die)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, replace(trained, training=None))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_model_of_a_checkpoint_answers_as_the_saved_one(
    tmp_path: Path, model: TextVideoEmbedding, trained: Checkpoint
) -> None:
    save_checkpoint(tmp_path / "c.pth", trained)
    videos, sentences = torch.randn(3, 6), torch.randn(2, 7, 4)
    found = load_checkpoint(tmp_path / "c.pth").model()
    assert not found.training
    assert torch.equal(found(videos, sentences), model(videos, sentences))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_plain_state_dict_is_read_and_measured(tmp_path: Path, model: TextVideoEmbedding, *, wrapped: bool) -> None:
    state = model.state_dict()
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "plain.pth")
    found = load_checkpoint(tmp_path / "plain.pth", max_words=7)
    assert found.spec == SPEC
    assert found.origin == Origin()
    assert found.training is None
    with pytest.raises(CheckpointError, match="contains weights only"):
        require_training(found, tmp_path / "plain.pth")


def test_weights_without_the_unused_entries_are_taken(tmp_path: Path, model: TextVideoEmbedding) -> None:
    state = {name: value for name, value in model.state_dict().items() if "batch_norm" not in name}
    torch.save(state, tmp_path / "plain.pth")
    loaded = load_checkpoint(tmp_path / "plain.pth", max_words=7).model()
    videos, sentences = torch.randn(3, 6), torch.randn(2, 7, 4)
    assert torch.equal(loaded(videos, sentences), model(videos, sentences))


class Malicious:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def test_a_file_that_would_execute_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"GU_video.fc.weight": Malicious()}, tmp_path / "bad.pth")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Malicious()))
    for name, said in (("bad.pth", r"it asks for posix\.system"), ("bad.pkl", "it is not a PyTorch file")):
        with pytest.raises(CheckpointError, match=f"not a PyTorch file that can be read safely: {said}") as caught:
            load_checkpoint(tmp_path / name)
        assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def damaged(content: dict[str, Any]) -> dict[str, Any]:
    return {"format": "reeldex-embedding", "format_version": 1, "spec": {}, "weights": {}, "training": None, **content}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "contains a list, not weights by name"),
        ({"a": 1}, "not a checkpoint of a text-video embedding: it has a"),
        ({"conv1.weight": torch.ones(1)}, r"lack GU_video\.fc\.weight.* begin with conv1\.weight"),
        ({1: torch.ones(1)}, "not a checkpoint of a text-video embedding: it has 1"),
        ({name: torch.zeros(0, 3) for name in _SIZED_BY}, "embed_dim of a model must be a whole number of at least 1"),
        (damaged({"origin": "{}", "weights": {"GU_video.fc.weight": 5}}), "its weights are not tensors by name"),
        (damaged({"format_version": 9}), "format version 9, and this reeldex reads 1"),
        (damaged({}), "damaged or was changed: KeyError"),
        (damaged({"origin": "{"}), "damaged or was changed: JSONDecodeError"),
        (damaged({"origin": "{}", "spec": {"video_dim": -1}}), "damaged or was changed: ValueError"),
        (damaged({"origin": "{}", "training": {"epoch": 1}}), "damaged or was changed: TypeError"),
    ],
)
def test_what_is_no_checkpoint_is_said(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(tmp_path / "c.pth")


def test_absent_and_cut_files_are_said(tmp_path: Path, trained: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint at"):
        load_checkpoint(tmp_path / "c.pth")
    save_checkpoint(tmp_path / "c.pth", trained)
    (tmp_path / "c.pth").write_bytes((tmp_path / "c.pth").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a PyTorch file that can be read safely"):
        load_checkpoint(tmp_path / "c.pth")


def test_weights_of_other_sizes_are_named(model: TextVideoEmbedding) -> None:
    weights = {**model.state_dict(), "extra": torch.ones(1), "GU_text.fc.bias": torch.ones(9)}
    del weights["GU_video.cg.fc.weight"]
    with pytest.raises(CheckpointError) as caught:
        Checkpoint(SPEC, weights).model()
    for part in ("missing: GU_video.cg.fc.weight", "unknown: extra", "GU_text.fc.bias is (9,) and should be (5,)"):
        assert part in str(caught.value)


def test_other_word_vectors_are_refused(trained: Checkpoint) -> None:
    require_word_vectors(trained, "abc", 4)
    require_word_vectors(replace(trained, origin=Origin()), "other", 4)
    with pytest.raises(CheckpointMismatchError, match="of 4 dimensions, and these have 5"):
        require_word_vectors(trained, "abc", 5)
    with pytest.raises(CheckpointMismatchError, match="SHA-256 abc, and these have other"):
        require_word_vectors(trained, "other", 4)


def test_other_features_are_refused(trained: Checkpoint) -> None:
    require_features(trained, FEATURES, 6)
    require_features(trained, {}, 6)
    require_features(replace(trained, origin=Origin()), FEATURES, 6)
    require_features(trained, {"2d": {"space": None, "fingerprint": {"origin": "npy files"}}}, 6)
    with pytest.raises(
        CheckpointMismatchError, match=r"of 6 dimensions, and the features have 9.*2d net2d\.v1, 3d net3d"
    ):
        require_features(trained, FEATURES, 9)
    other_space: dict[str, JSON] = {**FEATURES, "3d": {"space": "net3d.random", "fingerprint": {}}}
    with pytest.raises(CheckpointMismatchError, match=r"3d features of net3d\.v1, and these are of net3d\.random"):
        require_features(trained, other_space, 6)
    other_settings: dict[str, JSON] = {
        **FEATURES,
        "2d": {"space": "net2d.v1", "fingerprint": {"weights": "aa", "fps": 2, "x": 1}},
    }
    with pytest.raises(CheckpointMismatchError, match=r"2d features of net2d\.v1 .* differ in fps, x\."):
        require_features(trained, other_settings, 6)


def test_an_origin_is_json() -> None:
    with pytest.raises(ValueError, match="config of a checkpoint must be JSON"):
        Origin(config={"path": Path("x")})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="features of a checkpoint must be JSON"):
        Origin(features={"rate": float("nan")})


@pytest.mark.parametrize("field", ["video_dim", "embed_dim", "word_dim", "max_words"])
def test_sizes_below_1_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} of a model must be"):
        ModelSpec(**{field: 0})


def test_sentence_dim_defaults_to_embed_dim() -> None:
    assert ModelSpec(embed_dim=9).sentence_dim == ModelSpec(embed_dim=9, sentence_dim=-1).sentence_dim == 9
    assert ModelSpec(embed_dim=9, sentence_dim=4).sentence_dim == 4


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: S311


def test_random_states_come_back_from_a_checkpoint(tmp_path: Path, trained: Checkpoint) -> None:
    random_states.seed_all(5)
    draws()
    states = random_states.capture()
    wanted = draws(), draws()
    training = replace(require_training(trained, tmp_path), random_states=states)
    save_checkpoint(tmp_path / "c.pth", replace(trained, training=training))
    random_states.seed_all(6)
    random_states.restore(require_training(load_checkpoint(tmp_path / "c.pth"), tmp_path).random_states)
    assert (draws(), draws()) == wanted


def test_a_checkpoint_on_a_broken_disk_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    torch.save({}, path)
    make_unreadable(path)
    with pytest.raises(CheckpointError, match=r"cannot be read: Input/output error.*not known to be damaged") as raised:
        load_checkpoint(path)
    assert "Download it again" not in str(raised.value)
