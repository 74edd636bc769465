"""Trains the synthetic set several times, noting the loss of each step: run by torchrun in the tests.

Usage: train_synthetic FOLDER CASES, the cases a JSON object of name to options, with `pairs` among the options.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from reeldex.embedding.training.distributed import ProcessRank, process_group
from reeldex.embedding.training.train import run_training
from tests.embedding import synthetic


def losses_of(folder: Path, options: dict[str, Any]) -> list[float]:
    """Train in `folder`, whose word vectors are one folder up, and give the loss of each step."""
    losses: list[float] = []
    # On a CUDA machine, `auto` would need a device per process.
    changes = {"device": "cpu", **{name: value for name, value in options.items() if name != "pairs"}}
    samples = synthetic.training_set(pairs=options.get("pairs", 1))
    words = synthetic.word_vectors(folder.parent)
    run_training(
        synthetic.job(
            folder, options=changes, samples=samples, words=words, on_step=lambda report: losses.append(report.loss)
        )
    )
    return losses


def main(folder: str, cases: str) -> None:
    torch.set_num_threads(1)
    # One group for all: a group made again right after it was left would never come together.
    with process_group(ProcessRank.from_environment(), torch.device("cpu")):
        losses = {name: losses_of(Path(folder) / name, options) for name, options in json.loads(cases).items()}
    Path(folder, f"losses.{os.environ['RANK']}").write_text(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
