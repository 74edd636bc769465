"""The commands of the documentation are executed, page by page, over small videos and untrained weights."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reeldex.cli.main import build_app
from tests.conftest import MakeVideo
from tests.docs.blocks import blocks_of
from tests.embedding.feature_files import make_store, rows_of
from tests.flows.captioned import write_rows

_ROOT = Path(__file__).parents[2]
_DOCS = _ROOT / "docs"
# A test of the Python API executes this page.
_TESTED_ELSEWHERE = {"python-api.md"}
_PAGES = sorted(str(each.relative_to(_DOCS)) for each in _DOCS.rglob("*.md"))

# A prompt, a path before the program, and `python -m` or `torchrun -m` are left out.
_COMMAND = re.compile(r"^(?:\$ )?(?:(?:torchrun|python).* -m |\S*/)?reeldex (?P<arguments>.+)$")

# Of packages that a page installs.
_INSTALLED = "installed"
_EXTRACTION = "extract: {weights: random, extractors: [wide2d]}\n"
_LEARNING = """
train: {epochs: 2, batch_size: 2, device: cpu, model: {embed_dim: 16}}
evaluate: {device: cpu}
words: {cache_folder: words, training: {dim: 8}}
index: {device: cpu}
"""
_CAPTIONS = {
    "cooking01": "chop the onion",
    "cooking02": "boil water",
    "P01_01": "slice bread",
    "P01_02": "chop the leek",
}


def _videos(folder: Path, make_video: MakeVideo) -> None:
    make_video(folder / "videos/clip.mp4")


def _captions(folder: Path) -> None:
    make_store(folder, {video: (rows_of(video, seconds=16)) for video in _CAPTIONS})
    (folder / "store").rename(folder / "features")
    data = folder / "captions"
    data.mkdir()
    trained, tested = list(_CAPTIONS)[:3], list(_CAPTIONS)[3:]
    sentences = [{"video_id": video, "caption": _CAPTIONS[video]} for video in trained]
    (data / "MSRVTT_data.json").write_text(json.dumps({"sentences": sentences}), encoding="utf-8")
    write_rows(data / "MSRVTT_train.csv", [["video_id"], *([video] for video in trained)])
    write_rows(data / "MSRVTT_JSFUSION_test.csv", [["video_id", "sentence"], *([v, _CAPTIONS[v]] for v in tested)])


def _extract(folder: Path, make_video: MakeVideo) -> None:
    _videos(folder, make_video)
    for video in ("disk1/old_video.mp4", "disk2/sub/another_one.mp4", "camera1/day/00001.mts"):
        make_video(folder / video)
    (folder / "pipeline.yaml").write_text(_EXTRACTION)


def _store(folder: Path, make_video: MakeVideo) -> None:
    _videos(folder, make_video)
    (folder / "pipeline.yaml").write_text(_EXTRACTION.replace("wide2d", "resnet152"))  # which the page reads
    _run_commands("reeldex extract videos --store features", folder)
    for stream, row_count in (("2d", 4), ("3d", 6)):
        (folder / "howto100m" / stream).mkdir(parents=True)
        np.save(folder / "howto100m" / stream / "video1.npy", np.full((row_count, 2048), 2048**-0.5, np.float16))


def _networks(folder: Path, make_video: MakeVideo) -> None:
    """Install the package of the page, as far as Python sees it."""
    _videos(folder, make_video)
    blocks = {block.language: block.body for block in blocks_of((_DOCS / "networks.md").read_text("utf-8"))}
    project = tomllib.loads(blocks["toml"])["project"]
    about = folder / _INSTALLED / "my_networks-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in each.items())])
        for group, each in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(groups) + "\n")
    (folder / _INSTALLED / "my_networks.py").write_text(blocks["python"])


def _datasets(folder: Path, _: MakeVideo) -> None:
    page = (_DOCS / "datasets.md").read_text("utf-8")
    (table,) = [block.body for block in blocks_of(page) if block.body.startswith("video,start,end,text")]
    # The words of the sentences that are tested on are said by other videos too.
    more, words = [f"more{at}" for at in range(4)], " ".join(re.findall(r"\b[a-z]+\b", table))
    (folder / "my.csv").write_text(table + "".join(f"{video},0,9,{words}\n" for video in more))
    make_store(folder, {video: rows_of(video, seconds=90) for video in ("cooking01", "garden", *more)})
    (folder / "store").rename(folder / "features")
    (folder / "pipeline.yaml").write_text(_LEARNING)


def _train(folder: Path, _: MakeVideo) -> None:
    _captions(folder)
    (folder / "pipeline.yaml").write_text(_LEARNING)


def _search(folder: Path, make_video: MakeVideo) -> None:
    _train(folder, make_video)
    training = next(each for each in blocks_of((_DOCS / "training.md").read_text("utf-8")) if each.is_run)
    _run_commands(training.body.splitlines()[0], folder)


# What the commands of a page find in their folder.
_SETUPS: dict[str, Callable[[Path, MakeVideo], None]] = {
    "configuration.md": _videos,
    "datasets.md": _datasets,
    "extract.md": _extract,
    "monitoring.md": _videos,
    "networks.md": _networks,
    "search.md": _search,
    "store.md": _store,
    "training.md": _train,
}


@pytest.mark.parametrize("page", [page for page in _PAGES if page not in _TESTED_ELSEWHERE])
def test_every_block_of_commands_says_whether_it_is_run(page: str) -> None:
    blocks = blocks_of((_DOCS / page).read_text("utf-8"))
    assert [each.body for each in blocks if each.needs_marker and not each.is_marked] == []
    assert any(each.is_run for each in blocks) == (page in _SETUPS)


def _reeldex_commands(page: Path) -> list[list[str]]:
    """Return the arguments of every `reeldex` command of a page, whether it is run or not."""
    blocks = blocks_of(page.read_text("utf-8"))
    bodies = [each.body.replace("\\\n", " ") for each in blocks if each.language != "python"]
    found = [_COMMAND.search(line) for body in bodies for line in body.splitlines()]
    return [shlex.split(each["arguments"], comments=True) for each in found if each]


@pytest.mark.parametrize("page", [_ROOT / "README.md", *(_DOCS / page for page in _PAGES)], ids=lambda page: page.name)
def test_the_command_line_accepts_every_command_of_a_page(page: Path) -> None:
    """Also commands that cannot be executed here, such as those that need the published weights."""
    app = build_app()
    for arguments in _reeldex_commands(page):
        app.parse_args([each for each in arguments if each != "..."], print_error=False, exit_on_error=False)


def test_commands_are_found_in_prompts_and_over_several_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```\n$ reeldex up\ntorchrun -m reeldex train \\\n  --out 'my folder'  # why\nls reeldex\n```\n")
    assert _reeldex_commands(page) == [["up"], ["train", "--out", "my folder"]]


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(_SETUPS))
def test_the_commands_of_a_page_work(tmp_path: Path, make_video: MakeVideo, page: str) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    _SETUPS[page](folder, make_video)
    for block in blocks_of((_DOCS / page).read_text("utf-8")):
        if block.is_run and block.language == "python":
            _run([sys.executable, "-c", block.body], folder)
        elif block.is_run:
            _run_commands(block.body, folder)


def _run_commands(commands: str, folder: Path) -> None:
    _run(["/bin/bash", "-euo", "pipefail", "-c", commands], folder)


def _run(command: list[str], folder: Path) -> None:
    paths = {"PATH": Path(sys.executable).parent, "PYTHONPATH": folder / _INSTALLED}
    environment = os.environ | {name: f"{path}{os.pathsep}{os.environ[name]}" for name, path in paths.items()}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
