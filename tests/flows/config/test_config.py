from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reeldex.errors import UsageError
from reeldex.flows.config.document import commented
from reeldex.flows.config.pipeline import PipelineConfig, load_config, parse_config

ROOT = Path(__file__).resolve().parents[3]


def test_the_file_in_the_repository_is_generated_from_the_options() -> None:
    text = (ROOT / "pipeline.yaml").read_text(encoding="utf-8")
    assert text == commented(PipelineConfig()), "regenerate it: reeldex config init --force"
    assert yaml.safe_load(text) == PipelineConfig().model_dump(mode="json"), "every key is in the file"


def test_a_commented_file_holds_the_values_it_was_made_of(tmp_path: Path) -> None:
    content = {
        "extract": {"extractors": ["resnet152"], "video_id": "path"},
        "weights": {"files": {"resnet152": "/data/a: b #c.pth"}},
        "datasets": {"lsmdc": {"features": {"store": "größe", "space_2d": "x"}}},
        "schedules": [{"name": "nightly", "source": "v", "store": "s", "cron": "0 2 * * *"}],
    }
    config = parse_config(content, "test")
    path = tmp_path / "pipeline.yaml"
    path.write_text(commented(config), encoding="utf-8")
    assert load_config(path) == config


def described(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from described(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def test_every_option_has_a_description_and_in_forms_a_title() -> None:
    for name, field in described(PipelineConfig):
        assert field.description, name
        assert field.title or name in {"version", "schedules"}, name


def test_options_load_neither_pytorch_nor_h5py() -> None:
    modules = [f"reeldex.{name}.options" for name in ("extractors", "embedding", "embedding.datasets", "search")] + [
        "reeldex.flows.config.document"
    ]
    heavy = ("torch", "h5py", "numpy", "prefect")
    code = f"import sys, {', '.join(modules)}; print([each for each in {heavy} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(None) == PipelineConfig()


def test_the_file_of_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text("compute: {decoders: 7}\n", encoding="utf-8")
    assert load_config(None).compute.decoders == 7


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"compute": {"decoder": 3}}, "compute.decoder: unknown key; did you mean 'compute.decoders'?"),
        ({"compute": {"limits": {"timeout": 3}}}, "compute.limits.timeout: unknown key"),
        ({"extrct": {}}, "did you mean 'extract'?"),
        ({"compute": {"decoders": 0}}, "compute.decoders"),
        ({"extract": {"weights": "pretraind"}}, "extract.weights"),
        ({"compute": {"device": "gpu"}}, "compute.device"),
        ({"extract": {"extractors": []}}, "extract.extractors"),
        ({"version": 2}, "version"),
    ],
)
def test_what_is_wrong_is_named_by_its_dotted_path(content: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_config(content, "here.yaml")
    assert said in str(raised.value)
    assert str(raised.value).startswith("here.yaml: ")


@pytest.mark.parametrize(
    "content",
    [
        {"execution": {"address": "nonsense"}},
        {"execution": {"address": "ray://host:1"}},
        {"fetch": {"hosts": ["http://x/y"]}},
    ],
)
def test_no_message_names_a_class_of_python(content: dict[str, object]) -> None:
    with pytest.raises(UsageError) as refused:
        parse_config(content, "test")
    assert not re.search(r"Value error|Assertion failed|: *$", str(refused.value))


@pytest.mark.parametrize("text", ["- a\n- b\n", "extract: [", "\x00"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"pipeline\.yaml"):
        load_config(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("# nothing\n", encoding="utf-8")
    assert load_config(path) == PipelineConfig()
