"""`reeldex index`, `search`, `page` and `run`, real Prefect included."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from reeldex.cli import quickstart
from tests.conftest import MakeVideo, Reeldex
from tests.embedding.feature_files import make_store
from tests.flows.captioned import make_captioned, rows_of_kind, write_rows
from tests.object_store import ObjectStore, client
from tests.search.page.fixed_searcher import FixedSearcher

ROOT = Path(__file__).resolve().parents[2]
Trained = tuple[Path, tuple[object, ...], tuple[object, ...]]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, an embedding that knows its kinds, and one that knows nothing."""
    from reeldex.flows.config.pipeline import parse_config
    from reeldex.flows.learning.training import train_embedding
    from reeldex.flows.learning.training_request import TrainingRequest

    folder = make_captioned(tmp_path_factory.mktemp("learnt"))
    for name, epochs in (("run", 60), ("other", 1)):
        content: dict[str, Any] = {
            "train": {"epochs": epochs, "lr_decay": 0.99, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"},
            "words": {"train_own": True, "training": {"dim": 8}, "cache_folder": str(folder / "cache")},
            "datasets": {"msrvtt": {"folder": str(folder), "features": {"store": str(folder / "store")}}},
        }
        content["train"]["model"] = {"embed_dim": 16}
        request = TrainingRequest("msrvtt", folder / name, parse_config(content, "test"))
        train_embedding(request, lambda _: None)
    return folder


@pytest.fixture
def trained(learnt: Path, tmp_path: Path) -> Trained:
    """A copy of these; what builds an index of the store, and what asks it."""
    folder = Path(shutil.copytree(learnt, tmp_path / "learnt"))
    cache = ("--word-cache", folder / "cache")
    checkpoint = ("--checkpoint", folder / "run" / "last.pth")
    index = ("index", "--store", folder / "store", *checkpoint, "--index", folder / "index", "--device", "cpu", *cache)
    return folder, index, ("--index", folder / "index", *cache)


@pytest.mark.slow
def test_a_store_at_a_url_is_indexed_and_evaluated_on(reeldex: Reeldex, trained: Trained, s3: ObjectStore) -> None:
    folder, index, asked = trained
    for path in sorted((folder / "store").rglob("*")):
        if path.is_file():
            key = path.relative_to(folder).as_posix()
            client(s3).put_object(Bucket="lab", Key=key, Body=path.read_bytes())
    there = [("s3://lab/store" if each == folder / "store" else each) for each in index]
    built = reeldex(*there, "--json")
    assert built.status == 0, built.err
    assert (built.json["videos_added"], built.json["recall_at_10"]) == (18, 1.0)
    found = reeldex("search", "the red one", *asked, "-k", 3, "--json").json["moments"]
    assert {each["video_id"][:-1] for each in found} == {"red"}
    again = reeldex(*there, "--json")
    assert again.json["up_to_date"], "the store is recognised by its first manifest"
    cache = ("--word-cache", folder / "cache")
    data = ("--dataset", "msrvtt", "--store", "s3://lab/store", "--data", folder)
    here = reeldex("evaluate", *data[:2], "--store", folder / "store", *data[4:], *cache, *index[3:5], "--json")
    remote = reeldex("evaluate", *data, *cache, *index[3:5], "--json")
    assert remote.status == here.status == 0, remote.err + here.err
    assert remote.json["sets"] == here.json["sets"]


@pytest.mark.slow
def test_an_index_is_built_asked_refreshed_and_left_alone(reeldex: Reeldex, trained: Trained) -> None:
    folder, index, asked = trained
    built = reeldex(*index, "--json")
    assert built.status == 0, built.err
    assert (built.json["videos_added"], built.json["moments"], built.json["up_to_date"]) == (18, 18, False)
    assert built.json["recall_at_10"] == 1.0

    answer = reeldex("search", "the red one", *asked, "-k", 3, "--json")
    assert answer.status == 0, answer.err
    found = answer.json["moments"]
    assert {each["video_id"][:-1] for each in found} == {"red"}
    assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)
    shown = reeldex("search", "the striped zebra", *asked, "-k", 2, "--videos", "striped*")
    assert (shown.status, len(shown.out.splitlines())) == (0, 2)
    assert "striped" in shown.out
    assert "ignored, not in the vocabulary: zebra" in shown.err
    alike = reeldex("search", "--like", "round1@2", *asked, "-k", 2, "--json")
    assert {each["video_id"] for each in alike.json["moments"]} == {"round0", "round2"}

    again = reeldex(*index)
    assert (again.status, "up to date" in again.out) == (0, True)
    make_store(folder, {f"red{number}": rows_of_kind("red", number) for number in (7, 8)})
    grown = reeldex(*index, "--json")
    assert (grown.json["videos_added"], grown.json["videos_kept"]) == (2, 18)
    found = reeldex("search", "the red one", *asked, "-k", 5, "--json").json["moments"]
    assert {each["video_id"] for each in found} == {"red0", "red1", "red2", "red7", "red8"}

    config = {"captions.json": {"red7": {"start": [0.5], "end": [3], "text": ["red \x1b[31mat last"]}}}
    (folder / "captions.json").write_text(json.dumps(config["captions.json"]), encoding="utf-8")
    captioned = reeldex(*index, "--captions", folder / "captions.json", "--json")
    assert captioned.json["videos_changed"] == 1, captioned.err
    found = reeldex("search", "red", *asked, "--videos", "red7", "--json").json["moments"]
    assert [(each["start_seconds"], each["caption"]) for each in found] == [(0.5, "red \x1b[31mat last")]
    assert reeldex("search", "red", *asked, "--videos", "red7").out.endswith("red \\x1b[31mat last\n"), "as text"
    alone = reeldex("search", "--like", "red7@1", *asked, "--videos", "red7")
    assert (alone.status, "no other moment found" in alone.err) == (0, True)

    other = [*index[:4], folder / "other" / "last.pth", *index[5:]]
    refused = reeldex(*other)
    assert refused.status == 2
    assert "rebuil" in refused.err
    assert reeldex(*other, "--rebuild").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("search",), "Give a sentence, or --like"),
        (("search", "red", "--like", "red1@2"), "Give a sentence, or --like"),
        (("search", "red", "--index", "nowhere"), "nowhere"),
        (("search", "--like", "red1"), "VIDEO@SECONDS"),
        (("search", "--like", "red1@soon"), "VIDEO@SECONDS"),
        (("search", "--like", "red1@nan"), "VIDEO@SECONDS"),
        (("page", "--index", "nowhere"), "nowhere"),
        (("page", "--port", "70000"), "page.port"),
        (("index", "--store", "nowhere", "--checkpoint", "c.pth"), "nowhere"),
        (("run", "videos", "--out", "o"), "No embedding specified"),
        (("run", "videos", "--out", "o", "--train-on", "msrvtt", "--captions", "nowhere"), "no file nowhere"),
        (("run", "videos", "--out", "o", "--train-on", "msrvtt", "--set", "index.device=cuda:99"), "cuda:99"),
        (
            ("run", "videos", "--out", "o", "--train-on", "msrvtt", "--evaluate-on", "imagenet"),
            "Unknown test set 'imagenet'",
        ),
        (("run", "videos", "--out", "o", "--checkpoint", "c.pth", "--weights", "random"), "videos"),
    ],
)
def test_what_is_wrong_is_said_at_once_with_status_2(
    reeldex: Reeldex, arguments: tuple[object, ...], said: str
) -> None:
    answer = reeldex(*arguments)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_an_empty_index_folder_is_not_the_present_one(reeldex: Reeldex) -> None:
    answer = reeldex("search", "red", "--index", "")
    assert answer.status == 2
    assert "--index: the path is empty" in answer.err


@pytest.mark.slow
def test_questions_that_cannot_be_answered_say_why(reeldex: Reeldex, trained: Trained) -> None:
    folder, index, asked = trained
    assert reeldex(*index).status == 0
    for arguments, said in (
        (("search", "zebra crossing"), "zebra"),
        (("search", "the red one", "-k", 0), "0"),
        (("search", "--like", "nobody@1"), "nobody"),
        (("search", "red " * 2000), "characters"),
        (("search", "red", "--videos", "nobody*"), "No video of the index has an id like"),
    ):
        answer = reeldex(*arguments, *asked)
        assert (answer.status, answer.out) == (2, ""), arguments
        assert said in answer.err
    (folder / "run" / "last.pth").rename(folder / "moved.pth")
    gone = reeldex("search", "red", *asked)
    assert (gone.status, "last.pth" in gone.err) == (2, True)
    assert reeldex("search", "red", *asked, "--checkpoint", folder / "moved.pth").status == 0


def test_a_cache_that_cannot_be_made_is_not_told_as_a_port_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from reeldex.cli.page import serve_page
    from reeldex.errors import UsageError, UserError
    from reeldex.flows.config.pipeline import parse_config

    # Tests may run as root, to whom no folder is forbidden.
    def forbidden(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    index: Any = FixedSearcher([], [])
    config = parse_config({"page": {"cache_folder": str(tmp_path / "cache"), "port": 0}}, "test")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", forbidden)
        with pytest.raises(
            UserError, match=r"cache cannot be written: Permission denied.*page\.cache_folder or XDG_CACHE_HOME"
        ):
            serve_page(index, config)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = parse_config({"page": {"port": taken.getsockname()[1]}}, "test")
        with pytest.raises(UsageError, match="is already in use"):
            serve_page(index, config)


def test_make_run_offers_no_index_that_could_not_be_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # The published weights, without which no index is built of one's own videos, are not available in tests.
    monkeypatch.setattr(quickstart, "_available_weights", lambda: "pretrained")
    arguments = ["--store", str(tmp_path / "my store"), "--videos", "videos"]
    monkeypatch.setattr("reeldex.cli.main.main", lambda command: 2 if command[0] == "index" else 0)
    assert quickstart.main(arguments) == 2
    assert "Search it" not in capsys.readouterr().out
    monkeypatch.setattr("reeldex.cli.main.main", lambda _: 0)
    assert quickstart.main(arguments) == 0
    assert f"reeldex page --index '{tmp_path / 'my store'}-index'" in capsys.readouterr().out


@pytest.mark.slow
def test_the_page_answers_on_loopback_until_it_is_stopped(reeldex: Reeldex, trained: Trained) -> None:
    folder, index, asked = trained
    assert reeldex(*index).status == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "reeldex", "page", *map(str, asked), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "home cache")},
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("Search page: http://127.0.0.1:"), process.communicate(timeout=30)
        address = first.removeprefix("Search page: ").strip().rstrip("/")
        with urllib.request.urlopen(f"{address}/", timeout=30) as answer:  # noqa: S310
            assert b"<html" in answer.read()
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - started < 20
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_run_goes_from_a_folder_to_answers_and_skips_what_is_up_to_date(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reeldex.flows.extraction import sources

    real, searches = sources.find_videos, []

    def find_videos(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on
        searches.append(arguments)
        return real(*arguments, **named)

    monkeypatch.setattr(sources, "find_videos", find_videos)  # counted in front of the real one
    videos = {"bars": "smptebars", "rainbow": "rgbtestsrc", "counter": "testsrc", "grey": "yuvtestsrc"}
    for name, picture in videos.items():
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=0.7, picture=picture)
    sentences = [{"video_id": name, "caption": f"here is a {name}"} for name in videos]
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps({"sentences": sentences}), encoding="utf-8")
    write_rows(tmp_path / "MSRVTT_train.csv", [["video_id"], *([name] for name in videos)])
    tested = [[name, f"here is a {name}"] for name in videos]
    write_rows(tmp_path / "MSRVTT_JSFUSION_test.csv", [["video_id", "sentence"], *tested])
    settings = (
        "train.epochs=120",
        "train.batch_size=4",
        "train.model.embed_dim=16",
        "train.learning_rate=0.003",
        "train.lr_decay=1",
        "words.training.dim=8",
        *(f"{section}.device=cpu" for section in ("train", "compute", "index", "evaluate")),
    )
    data = ("--train-on", "msrvtt", "--evaluate-on", "msrvtt", "--data", tmp_path)
    words = ("--train-word-vectors", "--word-cache", tmp_path / "cache")
    settled = [part for setting in settings for part in ("--set", setting)]
    run = ("run", tmp_path / "videos", "--out", tmp_path / "all", "--weights", "random", *data, *words, *settled)
    first = reeldex(*run)
    assert first.status == 0, first.err
    assert len(searches) == 1, "the run is prepared once"
    for said in ("4 videos extracted", "embedding", "R@1", "4 added", "reeldex page --index"):
        assert said in first.out
    asked = ("--index", tmp_path / "all" / "index", "--word-cache", tmp_path / "cache")
    answer = reeldex("search", "a rainbow", *asked, "-k", 1, "--json")
    assert [each["video_id"] for each in answer.json["moments"]] == ["rainbow"]
    assert answer.json["moments"][0]["path"] == str(tmp_path / "videos" / "rainbow.mp4")

    second = reeldex(*run, "--json")
    assert second.status == 0, second.err
    assert second.json["extraction"]["shards_done"] == 0
    assert second.json["training"]["mean_loss"] is None, "no epoch was left to do"
    assert second.json["index"]["up_to_date"] is True
    assert second.json["evaluation"]["up_to_date"] is True

    make_video(tmp_path / "videos" / "new.mp4", seconds=0.7, picture="colorspectrum")
    (tmp_path / "videos" / "grey.mp4").unlink()
    third = reeldex(*run, "--json")
    assert third.status == 0, third.err
    assert third.json["extraction"]["extracted_ok"] == 1
    assert (third.json["index"]["videos_added"], third.json["index"]["videos_removed"]) == (1, 1)
    assert third.json["evaluation"]["up_to_date"] is False, "the store has changed"
