"""Flags that stand for keys of the configuration, and what the command line says of wrong ones."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reeldex.cli.command import Output, report_errors
from reeldex.cli.main import _COMMANDS, build_app, main
from reeldex.embedding.options import ModelOptions, TrainingOptions
from reeldex.errors import InfrastructureError, ReeldexError, UsageError
from reeldex.flows.config.learning import EpicPresetName, EvaluateConfig, TestSet, TrainingDataset
from reeldex.flows.config.pipeline import PipelineConfig, load_config
from reeldex.search.options import IndexOptions
from reeldex.storage.system_errors import unreadable

NAMES = [name for _, _, name, _ in _COMMANDS]


def test_every_command_ends_its_help_with_exit_statuses_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        assert main([name, "--help"]) == 0
        *_, statuses, example = capsys.readouterr().out.strip().split("\n\n")
        assert statuses.startswith("Exit status: 0"), name
        assert example.startswith(f"Example: reeldex {name}"), name


def test_help_lists_every_command_by_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown for name in NAMES)
    assert all(f" {group} " in shown for group in ("Extraction", "Stores", "Embedding", "Search"))
    assert "--install-completion" in shown


def test_help_says_of_a_flag_what_the_options_say_of_its_key() -> None:
    # In a process of its own, whose lines are so long that none is broken.
    command = [sys.executable, "-m", "reeldex", "train", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "400"})
    shown = " ".join(answer.stdout.replace("│", " ").split())
    for model in (TrainingOptions, ModelOptions):
        for name, field in model.model_fields.items():
            flag = "--compile" if name == "compile_model" else f"--{name.replace('_', '-')}"
            assert flag in shown
            assert (field.description or flag) in shown


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("train", {**TrainingOptions.model_fields, **ModelOptions.model_fields}),
        ("evaluate", EvaluateConfig.model_fields),
        ("index", IndexOptions.model_fields),
    ],
)
def test_every_option_has_a_flag(command: str, fields: dict[str, object]) -> None:
    flags = {name for argument in build_app()[command].assemble_argument_collection() for name in argument.names}
    wanted = {"--compile" if name == "compile_model" else f"--{name.replace('_', '-')}" for name in fields}
    assert wanted <= flags


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extrct"], 'Did you mean "extract"?'),
        (["extract", "v", "--stor", "s"], "Did you mean --store"),
        (["extract", "v"], "--store requires an argument"),
        (["extract", "v", "--store", "s", "--weights", "randm"], 'Did you mean "random"?'),
        (["extract", "v", "--store", "s", "--decoders", "0"], "compute.decoders: Input should be greater than"),
        (["extract", "v", "--store", "s", "--decoders", "many"], "compute.decoders: Input should be a valid integer"),
        (["extract", "v", "--store", "s", "--set", "compute.decoder=3"], "did you mean 'compute.decoders'?"),
        (["train", "--dataset", "msrvt", "--out", "o"], "msrvtt"),
        (["train", "--dataset", "msrvtt", "--out", ""], "the path is empty"),
        (["train", "--dataset", "msrvtt", "--out", "o", "--hard-negative-rate", "2"], "train.hard_negative_rate"),
        (["search", "x", "--index", ""], "--index: the path is empty"),
        (["search", "x", "--index", "s3://bucket/i"], "--index: s3://bucket/i is a URL; give a path of this machine"),
        (["search", "x", "--index", "s3://k:p@b/i"], "--index: s3://***@b/i is a URL"),
        (["extract", "v", "--store", "s", "--cache-folder", "s3://b/c"], "--cache-folder: s3://b/c is a URL"),
        (["extract", "v", "--store", "s", "--metrics-folder", "s3://b/m"], "--metrics-folder: s3://b/m is a URL"),
        (["compare", "https://host/a", "b"], "https://host/a cannot hold a store: the web has no folders"),
        (["compare", "a", "s3://key:hunter2@bucket/b"], "s3://***@bucket/b carries credentials"),
        (["export", "a", "s3://bucket/npy"], "it is a URL; give a path of this machine"),
        (["config", "init", "s3://bucket/pipeline.yaml"], "it is a URL; give a path of this machine"),
        (["page", "--port", "65536"], "page.port"),
        ([], ""),
    ],
)
def test_wrong_use_is_said_with_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.startswith("reeldex: ") or not arguments
    assert "Traceback" not in shown.err


def test_names_of_data_sets_and_presets_are_taken() -> None:
    app = build_app()
    for kind, start in ((TrainingDataset, ["train", "--out", "o"]), (TestSet, ["evaluate", "--checkpoint", "c"])):
        for each in kind:
            _, bound, _ = app.parse_args([*start, "--dataset", each.value], exit_on_error=False, print_error=False)
            assert bound.arguments["dataset"] in (each, (each,))
    for preset in EpicPresetName:
        app.parse_args(["train", "--out", "o", "--dataset", "epic", "--preset", preset.value], exit_on_error=False)


def test_config_show_prints_the_effective_values(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text("compute: {decoders: 7}\n", encoding="utf-8")
    assert main(["config", "show", "--set", "train.epochs=3"]) == 0
    shown = capsys.readouterr().out
    values = yaml.safe_load(shown)
    assert (values["compute"]["decoders"], values["train"]["epochs"], values["page"]["port"]) == (7, 3, 8765)
    assert "# Videos decoded at the same time" in shown
    assert main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compute"]["decoders"] == 7
    Path("pipeline.yaml").write_text("compute: {decoder: 7}\n", encoding="utf-8")
    assert main(["config", "show"]) == 2
    assert "did you mean 'compute.decoders'?" in capsys.readouterr().err


def test_of_an_option_given_twice_the_last_one_counts(capsys: pytest.CaptureFixture[str]) -> None:
    bound = build_app().parse_args(["search", "x", "-k", "3", "-k", "4", "--index", "a", "--index", "b"])[1]
    assert (bound.arguments["k"], bound.arguments["index__folder"]) == (4, "b")
    assert main(["config", "show", "--json", "--set", "train.epochs=3", "--set", "compute.decoders=5"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["train"]["epochs"], shown["compute"]["decoders"]) == (3, 5)


def test_config_schema_is_that_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(PipelineConfig.model_json_schema()))


def test_config_init_writes_the_defaults_and_replaces_nothing_unasked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["config", "init"]) == 0
    assert load_config(None) == PipelineConfig()
    Path("pipeline.yaml").write_text("mine", encoding="utf-8")
    capsys.readouterr()
    assert main(["config", "init"]) == 2
    assert "--force" in capsys.readouterr().err
    assert Path("pipeline.yaml").read_text(encoding="utf-8") == "mine"
    assert main(["config", "init", "--force"]) == 0
    assert main(["config", "init", "no folder/a.yaml"]) == 2


def test_root_help_loads_no_configuration() -> None:
    script = (
        "import sys\nfrom reeldex.cli.main import main\nmain(['--help'])\n"
        "sys.stderr.write(str(sorted(m for m in sys.modules if m.startswith('reeldex'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "['reeldex', 'reeldex.cli', 'reeldex.cli.interrupts', 'reeldex.cli.main']"


def test_root_help_takes_little_of_a_processor(tmp_path: Path) -> None:
    # With bytecode at hand, as an installation has it; the first call writes it.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    seconds = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "reeldex", "--help"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds[1:]) < 0.3, seconds


def test_an_error_that_follows_from_ctrl_c_is_a_stop_and_another_one_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    def half_written() -> int:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    def broken() -> int:
        raise RuntimeError("a bug")

    assert report_errors(half_written, "train", Output()) == 130
    stopped = capsys.readouterr().err
    assert "add --resume to continue" in stopped
    assert "it caused RuntimeError: unexpected pos 64 vs 0" in stopped
    with pytest.raises(RuntimeError, match="a bug"):
        report_errors(broken, "train", Output())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("mend it"), 2),
        (InfrastructureError("no memory"), 1),
        (ReeldexError("other"), 1),
        (OSError("no"), 1),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "store/x"), 1),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), 1),
        (OSError(errno.EIO, os.strerror(errno.EIO), "store/x"), 1),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), 1),
        (ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)), 1),
        (TimeoutError("too long"), 1),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "x"), 2),
        (FileNotFoundError("no such thing"), 2),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x"), 2),
        (NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "x"), 2),
        (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "x"), 2),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "x"), 2),
        (unreadable(Path("x"), OSError(errno.EIO, "")), 1),
        (unreadable(Path("x"), OSError(errno.EACCES, "")), 2),
    ],
)
def test_expected_errors_are_their_messages_alone(
    capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    def act() -> int:
        raise error

    assert report_errors(act, "extract", Output(as_json=True)) == status
    printed = capsys.readouterr()
    assert json.loads(printed.out)["kind"] == type(error).__name__
    assert printed.err.startswith(f"reeldex: {error}")


def test_a_full_disk_is_a_fault_of_the_machine_and_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    # The device /dev/full is full: writing to it fails with ENOSPC.
    def act() -> int:
        with Path("/dev/full").open("w", encoding="utf-8") as file:
            file.write("features")
        return 0

    assert report_errors(act, "extract", Output()) == 1
    printed = capsys.readouterr().err
    assert "No space left on device" in printed
    assert "or raise their limits. Finished work is kept; run the same command" in printed
