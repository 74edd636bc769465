"""Commands do the same work as a flow run on a Prefect server and in their own process without Prefect."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.conftest import Answer, MakeVideo, Reeldex
from tests.flows.captioned import TRAIN, data_of, make_captioned, own_words
from tests.flows.conftest import flow_runs

pytestmark = pytest.mark.slow


def in_own_process(environment: dict[str, str], *arguments: object) -> Answer:
    """Run a command in a process of its own, with one thread."""
    command = [sys.executable, "-m", "reeldex", *map(str, arguments)]
    environment = {**environment, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread, as the child processes do: sums over several threads differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def without_paths(answer: str, *folders: Path) -> str:
    """Return a JSON answer with the folders of both ways named alike."""
    for folder in folders:
        answer = answer.replace(str(folder), "FOLDER")
    return answer


@pytest.mark.usefixtures("one_thread")
def test_the_reports_are_the_same_and_only_a_server_knows_of_flow_runs(
    tmp_path: Path, server: dict[str, str], reeldex: Reeldex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server["PREFECT_API_URL"])  # which --no-server does not use
    data = data_of(make_captioned(tmp_path))
    ways: dict[str, Reeldex] = {"--server": partial(in_own_process, server), "--no-server": reeldex}
    answers: dict[str, list[str]] = {}
    for flag, run in ways.items():
        out = tmp_path / flag
        train = ("train", *data, "--out", out, *own_words(tmp_path), *TRAIN, "--epochs", 4, "--evaluate-on", "msrvtt")
        words = ("--word-cache", tmp_path / "cache", "--device", "cpu")
        best = ("--checkpoint", out / "best.pth")
        commands = (
            train,
            ("evaluate", *data, *best, *words),
            ("index", "--store", tmp_path / "store", *best, "--index", out / "index", *words),
        )
        answers[flag] = []
        for command in commands:
            answer = run(*command, "--json", flag)
            assert answer.status == 0, answer.err
            answers[flag].append(without_paths(answer.out, out))
        again = run(*train, "--json", flag)
        assert (again.status, again.json["kind"]) == (2, "TrainingError")
    assert answers["--server"][:2] == answers["--no-server"][:2]
    built = [json.loads(answers[flag][2]) for flag in ways]
    for report in built:
        for name in [name for name in report if "second" in name or name == "generation"]:
            del report[name]
    assert built[0] == built[1]
    names = sorted(each["name"].partition(" ")[0] for each in flow_runs(server["PREFECT_API_URL"]))
    assert names == ["evaluate", "index", "train"]


def test_a_run_is_recorded_by_the_server_that_the_settings_name(
    tmp_path: Path, make_video: MakeVideo, server: dict[str, str]
) -> None:
    make_video(tmp_path / "videos" / "a.mp4", seconds=0.3)
    network = ("--weights", "random", "--extractors", "wide2d")
    answer = in_own_process(server, "extract", tmp_path / "videos", "--store", tmp_path / "store", *network)
    assert answer.status == 0, answer.err
    runs = flow_runs(server["PREFECT_API_URL"])
    assert [(each["state_type"], "videos" in each["name"]) for each in runs] == [("COMPLETED", True)]


def test_without_a_server_prefect_is_not_imported(tmp_path: Path) -> None:
    data = data_of(make_captioned(tmp_path))
    train = ("train", *data, "--out", tmp_path / "run", *own_words(tmp_path), *TRAIN, "--epochs", 1)
    script = (
        "import sys\n"
        "from reeldex.cli.main import main\n"
        f"assert main({list(map(str, train))!r}) == 0\n"
        "assert 'prefect' not in sys.modules\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=environment)


def test_a_server_is_asked_for_in_vain_where_none_is_configured(tmp_path: Path, reeldex: Reeldex) -> None:
    data = data_of(make_captioned(tmp_path))
    train = ("train", *data, "--out", tmp_path / "o", *own_words(tmp_path), *TRAIN)
    answer = reeldex(*train, "--server")
    assert answer.status == 2
    assert "To configure one, set PREFECT_API_URL" in answer.err


def test_a_damaged_store_is_reported_alike_and_fails_the_flow_run(
    tmp_path: Path, server: dict[str, str], reeldex: Reeldex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server["PREFECT_API_URL"])  # which --no-server does not use
    make_captioned(tmp_path)
    store = tmp_path / "store"
    ways: dict[str, Reeldex] = {"--server": partial(in_own_process, server), "--no-server": reeldex}
    sound = [run("verify", store, "--json", flag) for flag, run in ways.items()]
    assert [answer.status for answer in sound] == [0, 0], sound[0].err
    file = next((store / "features").rglob("*.h5"))
    content = bytearray(file.read_bytes())
    content[-64:] = bytes(64)
    file.write_bytes(content)
    damaged = []
    for flag, run in ways.items():
        damaged.append(run("verify", store, "--json", flag))
        # What the first one recorded would be verified by the second, which would count one file more.
        shutil.rmtree(store / "damage")
    assert [answer.status for answer in damaged] == [1, 1]
    assert damaged[0].out == damaged[1].out
    assert file.name in damaged[0].out
    states = [each["state"]["type"] for each in flow_runs(server["PREFECT_API_URL"])]
    assert sorted(states) == ["COMPLETED", "FAILED"]
