"""From download to table: the published checkpoint and data, made small, from a server on loopback."""

from __future__ import annotations

import functools
import http.server
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from reeldex.embedding.model import ModelSpec
from reeldex.embedding.options import WordTraining
from reeldex.embedding.training.train import new_model
from reeldex.embedding.words.word2vec import train_word_vectors
from reeldex.extractors.errors import WeightsError
from reeldex.flows.config.pipeline import parse_config
from reeldex.flows.learning import published_files
from reeldex.flows.learning.inputs import OWN_WORD_VECTORS, word_file
from tests.conftest import Reeldex
from tests.flows.captioned import KINDS, write_rows

SPEC = ModelSpec(video_dim=10, embed_dim=12, word_dim=8)


def make_published(folder: Path) -> None:
    """The checkpoint as a plain state dict, and the archive with annotations, vectors and word vectors."""
    torch.save(new_model(SPEC, 1).state_dict(), folder / "howto100m_pt_model.pth")
    data = folder / "data"
    data.mkdir()
    names = [f"video{number}" for number in range(len(KINDS))]
    write_rows(
        data / "MSRVTT_JSFUSION_test.csv",
        [["video_id", "sentence"], *([name, f"the {kind} one"] for name, kind in zip(names, KINDS, strict=True))],
    )
    vectors = {
        stream: {name: torch.from_numpy(np.random.default_rng(at).random(width)) for at, name in enumerate(names)}
        for stream, width in (("2d", 6), ("3d", 4))
    }
    torch.save(vectors, data / "MSRVTT_JSFUSION_test.pth")
    train_word_vectors(
        [f"the {kind} one" for kind in KINDS], data / published_files.GOOGLE_NEWS, WordTraining(dim=SPEC.word_dim)
    )
    with zipfile.ZipFile(folder / "metadata_eval.zip", "w") as archive:
        for file in data.iterdir():
            archive.write(file, f"data/{file.name}")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What is published, served on loopback in place of its real addresses, which tests do not reach out to."""
    folder = tmp_path / "published"
    folder.mkdir()
    make_published(folder)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(
            "reeldex.embedding.training.checkpoint.PUBLISHED_CHECKPOINT_URL", f"{address}/howto100m_pt_model.pth"
        )
        monkeypatch.setattr(published_files, "EVALUATION_DATA_URL", f"{address}/metadata_eval.zip")
        yield folder
        server.shutdown()


@pytest.mark.slow
def test_one_command_from_download_to_table(reeldex: Reeldex, tmp_path: Path, published: Path) -> None:
    weights = tmp_path / "weights"
    Path("pipeline.yaml").write_text(f"weights: {{folder: {weights}}}\n", encoding="utf-8")
    command = ("evaluate", "--checkpoint", "published", "--data", "published", "--dataset", "msrvtt")
    cache = ("--word-cache", tmp_path / "cache")
    answer = reeldex(*command, *cache)
    assert answer.status == 0, answer.err
    assert "text to video" in answer.out
    assert (weights / "howto100m_pt_model.msrvtt.json").is_file()
    for file in published.iterdir():
        if file.is_file():
            file.unlink()
    assert reeldex(*command, *cache).status == 0, "what has been fetched is fetched once"


@pytest.mark.slow
def test_the_embedding_s_weights_are_fetched_and_missed_only_when_asked_for(
    reeldex: Reeldex, tmp_path: Path, published: Path
) -> None:
    Path("pipeline.yaml").write_text(f"weights: {{folder: {tmp_path}/weights}}\n", encoding="utf-8")
    listed = reeldex("weights", "list", "--json")
    assert listed.json["embedding"]["state"] == "missing"
    assert listed.json["embedding"]["url"].endswith("/howto100m_pt_model.pth")
    # Nobody serves the networks' weights, so that their fetching ends at once.
    reeldex("weights", "list", "--embedding")
    path = tmp_path / "weights" / "howto100m_pt_model.pth"
    assert not path.exists()
    published_files.checkpoint_path("published", tmp_path / "weights")
    row = reeldex("weights", "list", "--embedding", "--json").json["embedding"]
    assert (row["state"], row["file"], len(row["sha256"])) == ("sound", str(path), 64)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert reeldex("weights", "list", "--embedding", "--json").json["embedding"]["state"] == "damaged"


def test_what_cannot_be_fetched_or_unpacked_says_what_to_do(
    reeldex: Reeldex, tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("pipeline.yaml").write_text(f"weights: {{folder: {tmp_path}/weights}}\n", encoding="utf-8")
    (published / "metadata_eval.zip").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="Delete it to download it again"):
        published_files.data_folder(Path("published"), tmp_path / "weights")
    with zipfile.ZipFile(published / "metadata_eval.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "a" * 1000)
    damaged = bytearray((published / "metadata_eval.zip").read_bytes())
    damaged[35:40] = b"\xff" * 5
    (tmp_path / "weights" / "metadata_eval.zip").unlink()
    (tmp_path / "weights" / "metadata_eval.zip.sha256").unlink()
    (published / "metadata_eval.zip").write_bytes(damaged)
    with pytest.raises(WeightsError, match="Delete it to download it again"):
        published_files.data_folder(Path("published"), tmp_path / "weights")
    assert not (tmp_path / "weights" / "metadata_eval").exists()
    assert not list((tmp_path / "weights").glob("*.partial"))
    (published / "howto100m_pt_model.pth").unlink()
    answer = reeldex("evaluate", "--checkpoint", "published", "--dataset", "msrvtt")
    assert answer.status == 2
    assert "--checkpoint FILE" in answer.err


def test_published_data_are_not_fetched_for_data_sets_that_they_lack(reeldex: Reeldex, tmp_path: Path) -> None:
    Path("pipeline.yaml").write_text(f"weights: {{folder: {tmp_path}/weights}}\n", encoding="utf-8")
    for name in ("howto100m", "epic", "epic-retrieval"):
        answer = reeldex("train", "--dataset", name, "--data", "published", "--out", "o", "--train-word-vectors")
        assert answer.status == 2
        assert f"contain msrvtt, youcook2, lsmdc, but not {name}" in answer.err
    assert not (tmp_path / "weights").exists()


def test_word_vectors_at_hand_come_before_those_that_would_be_fetched(tmp_path: Path) -> None:
    for name in ("run", "data"):
        (tmp_path / name).mkdir()
    datasets = {"msrvtt": {"folder": "published"}, "lsmdc": {"folder": str(tmp_path / "data")}}
    config = parse_config({"datasets": datasets, "weights": {"folder": str(tmp_path / "weights")}}, "test")
    (tmp_path / "data" / published_files.GOOGLE_NEWS).touch()
    assert word_file(config, [tmp_path / "run"]) == tmp_path / "data" / published_files.GOOGLE_NEWS
    (tmp_path / "run" / OWN_WORD_VECTORS).touch()
    assert word_file(config, [tmp_path / "run"]) == tmp_path / "run" / OWN_WORD_VECTORS
    assert not (tmp_path / "weights").exists()


def test_the_real_addresses_and_sizes_are_those_that_were_published() -> None:
    assert published_files.published_checkpoint().url == (
        "https://www.rocq.inria.fr/cluster-willow/amiech/howto100m/models/howto100m_pt_model.pth"
    )
    assert asdict(ModelSpec()) == {
        "video_dim": 4096,
        "embed_dim": 6144,
        "word_dim": 300,
        "sentence_dim": 6144,
        "max_words": 20,
    }
