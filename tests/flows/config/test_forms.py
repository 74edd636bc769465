"""The forms of the flows: few fields with words as labels, and `settings` for all other keys, strictly checked."""

from __future__ import annotations

import re
from typing import Any

import pytest

from reeldex.errors import UsageError
from reeldex.flows.config.forms import nested
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.runs.form_flow import FormFlow

FLOWS = ("extract", "rerun", "verify", "train", "evaluate", "index", "pipeline")
MOST_FIELDS = 14


def _flow(name: str) -> FormFlow:
    import importlib

    flow = getattr(importlib.import_module(f"reeldex.flows.{name}"), name)
    assert isinstance(flow, FormFlow)
    return flow


def _schema(name: str) -> dict[str, Any]:
    from prefect.utilities.callables import parameter_schema

    return parameter_schema(_flow(name)).model_dump()


@pytest.mark.parametrize("name", FLOWS)
def test_a_form_has_few_fields_whose_labels_are_words_and_which_are_explained(name: str) -> None:
    fields = _schema(name)["properties"]
    assert len(fields) <= MOST_FIELDS
    titles = [field["title"] for field in fields.values()]
    assert len(set(titles)) == len(titles)
    for parameter, field in fields.items():
        assert re.fullmatch(r"[A-Z][A-Za-z ,']+( \(s\))?", field["title"]), (parameter, field["title"])
        assert field["description"].endswith((".", ":")), parameter
        # A union is shown as tabs, one of them `None`; a section, as a form within the form.
        assert "type" in field, (parameter, field)
    assert not _schema(name).get("definitions")


def test_the_fields_have_the_bounds_choices_and_words_of_their_options() -> None:
    extract, train = _schema("extract")["properties"], _schema("train")["properties"]
    assert extract["settle_seconds"]["minimum"] == 0
    assert extract["engine"]["enum"] == _schema("rerun")["properties"]["engine"]["enum"] == ["local", "ray"]
    assert extract["extractors"]["items"]["enum"] == [
        *("resnet152", "resnext101_3d", "tiny2d", "tiny3d", "wide2d", "wide3d")
    ]
    assert extract["extractors"]["minItems"] == 1
    assert extract["when_busy"]["enum"] == ["wait", "skip", "fail", "share"]
    assert extract["network_weights"]["description"].startswith("pretrained: the published weights.")
    assert train["batch_size"]["title"] == "Batch size"
    assert train["batch_size"]["minimum"] == 1
    assert train["dataset"]["enum"][0] == "howto100m"
    assert _schema("train")["required"] == ["dataset", "folder"]


@pytest.mark.parametrize("name", [each for each in FLOWS if each != "verify"])
@pytest.mark.parametrize(
    "content",
    [
        {},
        {
            "extract": {"weights": "random", "extractors": ["resnet152"], "shard_videos": 7, "include": ["*.mp4"]},
            "decode": {"tone_map": True},
            "compute": {"device": "cuda:1", "limits": {"timeout_seconds": 7}},
            "weights": {"folder": "/w", "files": {"resnet152": "/r.pth"}},
            "datasets": {"captions": {"features": {"store": "/s"}, "n_pair": 4}, "msrvtt": {"protocol": "1k-A"}},
            "words": {"file": "/words.bin", "training": {"dim": 8}},
            "train": {"epochs": 3, "device": "cpu", "evaluate_on": ["msrvtt"], "model": {"embed_dim": 16}},
            "evaluate": {"device": "cpu", "seed": 4},
            "index": {"device": "cpu", "window_seconds": 6.5, "captions": "/c.json"},
        },
    ],
)
def test_a_configuration_is_the_same_after_its_form(name: str, content: dict[str, Any]) -> None:
    form = _flow(name).form
    config = parse_config(content, "test")
    parameters = form.parameters(config)
    assert set(parameters) == {field.name for field in form.fields} | {"settings"}
    values = {key: value for key, value in parameters.items() if key != "settings"}
    again = form.configuration(values, parameters["settings"])
    for section in form.sections:
        assert getattr(again, section) == getattr(config, section), section
    if not content:
        assert parameters["settings"] == {}


def test_settings_may_be_nested_dotted_or_both() -> None:
    config = _flow("train").form.configuration(
        {}, {"train.model.embed_dim": 16, "train": {"model.max_words": 9, "epochs": 2}, "words": {"training.dim": 8}}
    )
    assert (config.train.model.embed_dim, config.train.model.max_words, config.train.epochs) == (16, 9, 2)
    assert config.words.training.dim == 8
    assert nested({"a": {}, "a.b": 1}) == nested({"a.b": 1, "a": {}}) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("flow", "values", "settings", "said"),
    [
        ("extract", {}, {"extract.shard_vides": 3}, "did you mean 'extract.shard_videos'?"),
        ("extract", {}, {"extract": {"shard_vides": 3}}, "settings: extract.shard_vides: unknown key"),
        ("extract", {}, {"shard_videos": 3}, "shard_videos: unknown key; did you mean 'extract.shard_videos'?"),
        ("extract", {}, {"extarct.shard_videos": 3}, "extarct: unknown key"),
        ("extract", {}, {"compute.limits.timeout": 3}, "did you mean 'compute.limits.timeout_seconds'?"),
        ("extract", {}, {"train.epochs": 3}, "train is not used by extract. Sections that it uses: extract, decode"),
        ("extract", {}, {"page.port": 3}, "page is no setting of a run"),
        ("extract", {}, {"extract.shard_videos": "many"}, "settings: extract.shard_videos: Input should be"),
        ("extract", {}, {"extract.shard_videos": 0}, "greater than or equal to 1"),
        ("extract", {}, {"extract": None}, "settings: extract: Input should be"),
        ("extract", {}, {"extract": 3}, "settings: extract: Input should be"),
        ("extract", {}, {"": 3}, "unknown key"),
        ("extract", {}, {"extract.": 3}, "extract.: unknown key"),
        ("extract", {}, {"compute.decoders": 2, "compute": {"decoders": 3}}, "compute.decoders is set twice"),
        ("extract", {}, {"compute": 2, "compute.decoders": 3}, "compute is set to 2, so it can have no keys"),
        ("extract", {"device": "cpu"}, {"compute.device": "cuda"}, "the field 'Device' is 'cpu'"),
        ("extract", {"device": "gpu"}, {}, "form: compute.device: String should match"),
        ("pipeline", {"device": "cuda:0,cuda:1"}, {}, "form: train.device: String should match"),
        ("pipeline", {}, {"index.folder": "x"}, "index.folder is not used by pipeline"),
        ("index", {"window_seconds": 2.0}, {}, "stride_seconds (4) exceeds window_seconds (2)"),
        ("train", {}, {"train.n_pair": 2}, "did you mean 'datasets.howto100m.n_pair' or 'datasets.youcook2.n_pair'"),
    ],
)
def test_what_is_wrong_in_a_form_is_named(
    flow: str, values: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        _flow(flow).form.configuration(values, settings)
    assert said in str(raised.value)


def test_a_setting_of_a_field_counts_unless_the_field_says_otherwise() -> None:
    form = _flow("extract").form
    assert form.configuration({"device": "auto"}, {"compute.device": "cpu"}).compute.device == "cpu"
    assert form.configuration({"device": "cpu"}, {"compute.device": "cpu"}).compute.device == "cpu"
    assert form.configuration({"extractors": ["resnet152"]}, {"extract.extractors": ["resnet152"]})
    assert form.configuration({"settle_seconds": 3}, {"extract.settle_seconds": 3.0}).extract.settle_seconds == 3.0
    words = _flow("train").form.configuration({"word_vectors": ""}, {"words.file": None}).words
    assert words.file is None


def test_one_device_of_a_pipeline_is_that_of_all_its_steps() -> None:
    config = _flow("pipeline").form.configuration({"device": "cpu"}, {})
    devices = {config.compute.device, config.train.device, config.evaluate.device, config.index.device}
    assert devices == {"cpu"}


def test_sections_that_were_parameters_become_settings() -> None:
    extract = _flow("extract")
    before = PipelineConfig().model_dump(mode="json")
    before["extract"]["shard_videos"] = 7
    former = {
        "source": "v",
        "store": "s",
        "options": before["extract"],
        "compute": before["compute"],
        "decode": before["decode"],
        "weights": before["weights"],
        "when_busy": "skip",
    }
    beside = {"settings": {"extract.shard_videos": 2, "compute": {"decoders": 5}}}
    current = extract.form.current({**former, **beside}, extract.own)
    assert set(current) == {"source", "store", "when_busy", "settings"}
    assert extract.form.configuration({}, current["settings"]).extract.shard_videos == 7
    assert extract.form.configuration({}, current["settings"]).compute == PipelineConfig().compute

    pipeline = _flow("pipeline")
    current = pipeline.form.current({"index": before["index"], "training": {"epochs": 2}}, pipeline.own)
    assert pipeline.form.configuration({}, current["settings"]).train.epochs == 2, "index.folder was not used either"


@pytest.mark.parametrize(
    ("flow", "name", "said"),
    [
        ("train", "n_pair", "did you mean 'settings.datasets.howto100m.n_pair' or"),
        ("extract", "shard_videos", "did you mean 'settings.extract.shard_videos'?"),
        ("extract", "sources", "did you mean 'source'?"),
        ("extract", "training", "extract has no parameter 'training'"),
        ("verify", "settings", "verify has no parameter 'settings'"),
        ("verify", "qwertz", "its parameters: sample, seed, set_aside_records, store"),
    ],
)
def test_a_parameter_that_a_flow_does_not_have_is_named(flow: str, name: str, said: str) -> None:
    found = _flow(flow)
    with pytest.raises(UsageError) as raised:
        found.form.current({"store": "s", name: 3}, found.own)
    assert said in str(raised.value)
    assert "launch the run anew from the form" in str(raised.value)
