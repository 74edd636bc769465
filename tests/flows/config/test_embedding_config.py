from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml

from reeldex.embedding.datasets.epic_options import PRESETS, EpicPreset
from reeldex.embedding.datasets.protocols import PROTOCOLS
from reeldex.embedding.datasets.registry import DATASETS
from reeldex.errors import UsageError
from reeldex.flows.config.datasets import DatasetsConfig
from reeldex.flows.config.learning import (
    EpicPresetName,
    TestSet,
    TrainingDataset,
)
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.learning.evaluation import EvaluationRequest, evaluate_checkpoint
from reeldex.flows.learning.inputs import dataset_options, training_options, with_preset
from reeldex.storage.store import FeatureStore


def test_names_are_those_of_the_registry() -> None:
    assert [each.value for each in TrainingDataset] == [
        name for name, record in DATASETS.items() if record.read_training
    ]
    assert [each.value for each in TestSet] == [name for name, record in DATASETS.items() if record.open_evaluation]
    assert list(EpicPresetName) == list(PRESETS)
    for name, record in DATASETS.items():
        assert type(getattr(DatasetsConfig(), name.replace("-", "_"))) is record.options


def test_protocols_are_those_that_the_readers_know() -> None:
    for name, protocols in PROTOCOLS.items():
        section = type(getattr(DatasetsConfig(), name.replace("-", "_")))
        choices, _ = get_args(section.model_fields["protocol"].annotation)
        assert get_args(choices) == tuple(each.name for each in protocols)
        for each in protocols:
            content = {"datasets": {name.replace("-", "_"): {"protocol": each.name, "published_sha256": "ab" * 32}}}
            options = dataset_options(name, parse_config(content, "test"))
            assert (options.protocol, options.published_sha256) == (each.name, "ab" * 32)


def test_a_ranking_that_cannot_be_written_is_refused_however_the_evaluation_is_begun(tmp_path: Path) -> None:
    (tmp_path / "a.pth").touch()
    request = EvaluationRequest(str(tmp_path / "a.pth"), ("msrvtt",), PipelineConfig(), ranking=tmp_path)
    with pytest.raises(UsageError, match=r"is a folder\. Name a file for the ranking"):
        evaluate_checkpoint(request)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"datasets": {"msrvtt": {"test_cvs": "x"}}}, "did you mean 'datasets.msrvtt.test_csv'?"),
        ({"datasets": {"lsmdc": {"features": {"stor": "x"}}}}, "did you mean 'datasets.lsmdc.features.store'?"),
        ({"datasets": {"lsmdc": {"features": {"folder_2d": "x"}}}}, "datasets.lsmdc.features"),
        ({"datasets": {"epic": {"verb_only": True}}}, "it needs labels: verb"),
        ({"train": {"model": {"embd_dim": 3}}}, "did you mean 'train.model.embed_dim'?"),
        ({"train": {"epochs": 0}}, "train.epochs"),
        ({"train": {"seed": 2**32}}, "train.seed"),
        ({"train": {"evaluate_on": ["howto100m"]}}, "train.evaluate_on.0"),
        ({"words": {"fil": "x"}}, "did you mean 'words.file'?"),
        ({"evaluate": {"resamples": -1}}, "evaluate.resamples"),
    ],
)
def test_what_is_wrong_is_named_by_its_dotted_path(content: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_config(content, "here.yaml")
    assert said in str(raised.value)


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_s_settings_take_the_places_of_others(name: EpicPresetName) -> None:
    config = with_preset(parse_config({"train": {"preset": name, "margin": 0.3}}, "test"))
    preset: EpicPreset = PRESETS[name]
    assert (config.train.epochs, config.train.learning_rate) == (preset.epochs, 1e-4)
    assert (config.train.preset, config.train.margin, config.train.model.embed_dim) == (None, 0.3, 6144)
    epic = config.datasets.epic
    assert (epic.clips_per_sample, epic.clips_before, epic.labels) == (
        preset.clips_per_sample,
        preset.clips_before,
        preset.labels,
    )
    assert with_preset(config, ["msrvtt"]) == config


def test_a_preset_is_for_epic_kitchens_alone() -> None:
    config = parse_config({"train": {"preset": "verb-2"}}, "test")
    with pytest.raises(UsageError, match="verb-2 is for the data set epic"):
        with_preset(config, ["msrvtt"])


def test_a_folder_gives_the_published_names_and_what_is_named_comes_before_it(tmp_path: Path) -> None:
    FeatureStore(tmp_path, create=True)
    section = {"folder": "data", "test_csv": "own.csv", "features": {"store": str(tmp_path), "space_2d": "a"}}
    options = dataset_options("msrvtt", parse_config({"datasets": {"msrvtt": section}}, "test"))
    assert options.test_csv == Path("own.csv")
    assert options.train_json == Path("data/MSRVTT_data.json")
    assert (options.features.store, options.features.space_2d) == (tmp_path, "a")


def test_a_store_named_by_itself_keeps_the_spaces_and_whether_damaged_rows_are_skipped() -> None:
    config = parse_config(
        {"datasets": {"epic": {"features": {"store": "s", "space_3d": "b", "skip_damaged": True}}}}, "test"
    )
    features = config.with_store("epic", "other").datasets.epic.features
    assert features is not None
    assert (features.store, features.space_3d, features.skip_damaged) == (Path("other"), "b", True)
    assert config.with_store("epic", "") == config
    fresh = PipelineConfig().with_store("epic-retrieval", "s").datasets.epic_retrieval.features
    assert fresh is not None
    assert fresh.store == Path("s")
    assert not fresh.skip_damaged


def test_verbs_alone_are_trained_by_the_triplet_loss_and_nothing_else_is_without_classes() -> None:
    verbs = parse_config({"datasets": {"epic": {"labels": "verb", "verb_only": True}}}, "test")
    assert training_options("epic", verbs).loss == "triplet"
    assert training_options("msrvtt", verbs).loss == "ranking"
    triplet = parse_config({"train": {"loss": "triplet"}}, "test")
    assert training_options("epic-retrieval", triplet).loss == "triplet"
    with pytest.raises(UsageError, match="needs verb classes"):
        training_options("msrvtt", triplet)


def test_forms_start_from_pipeline_yaml_and_leave_what_has_to_be_chosen_open() -> None:
    from reeldex.flows.server.deployments import deployments

    config = parse_config({"train": {"epochs": 7}, "words": {"file": "w.bin"}}, "test")
    offers = {offer.name: offer for offer in deployments(config, {})}
    assert offers["train"].parameters["epochs"] == 7
    assert offers["evaluate"].parameters["word_vectors"] == "w.bin"
    for name in ("train", "evaluate"):
        assert not {"dataset", "folder", "checkpoint", "store", "test_sets"} & set(offers[name].parameters)


def test_prefect_yaml_offers_them_too() -> None:
    written = yaml.safe_load((Path(__file__).parents[3] / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert {"flows/train.py:train", "flows/evaluate.py:evaluate"} <= {each["entrypoint"] for each in written}
