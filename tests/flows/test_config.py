from pathlib import Path

import pytest
import yaml

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import PipelineConfig, load_config, parse_config

ROOT = Path(__file__).resolve().parents[2]


def test_the_file_in_the_repository_holds_exactly_the_defaults() -> None:
    assert load_config(ROOT / "pipeline.yaml") == PipelineConfig()
    written = yaml.safe_load((ROOT / "pipeline.yaml").read_text(encoding="utf-8"))
    assert written == PipelineConfig().model_dump(mode="json"), "every key stands in the file, with its default"


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
