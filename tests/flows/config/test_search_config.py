"""The sections `index` and `page`, and what the forms of `index` and `pipeline` say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reeldex.errors import DeviceError, UsageError
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.config.search import IndexConfig
from reeldex.flows.learning.indexing import index_options
from reeldex.search.options import RECALL_TARGET
from reeldex.storage.schema import JSON


def test_options_reach_the_index() -> None:
    config = parse_config({"index": {"window_seconds": 6, "nprobe": 3, "device": "cpu"}}, "test")
    options = index_options(config)
    assert (options.window_seconds, options.nprobe, options.device) == (6.0, 3, "cpu")


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({"window_second": 6}, "did you mean 'index.window_seconds'?"),
        ({"window_seconds": 0}, "index.window_seconds"),
        ({"missing_files": "hide"}, "index.missing_files"),
        ({"device": "gpu"}, "index.device"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(index: dict[str, JSON], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        parse_config({"index": index}, "test")


def test_windows_that_do_not_cover_a_video_are_named() -> None:
    with pytest.raises(UsageError, match=r"index: .*stride_seconds \(5\) exceeds window_seconds \(4\)"):
        parse_config({"index": {"window_seconds": 4, "stride_seconds": 5}}, "test")


def test_a_device_that_is_not_there_is_named_before_the_work_begins() -> None:
    with pytest.raises(DeviceError, match=r"'cuda:99' is not available.*--device cpu"):
        index_options(parse_config({"index": {"device": "cuda:99"}}, "test"))


def test_nprobe_is_said_to_reach_the_recall_that_a_build_aims_at() -> None:
    said = f"find {RECALL_TARGET:.0%} of".replace("%", " %")
    assert said in (IndexConfig.model_fields["nprobe"].description or "")
    assert said in (Path(__file__).resolve().parents[3] / "pipeline.yaml").read_text(encoding="utf-8")


def test_the_forms_start_from_pipeline_yaml_and_leave_open_what_has_to_be_chosen() -> None:
    from reeldex.flows.server.deployments import deployments

    config = parse_config({"index": {"window_seconds": 6}, "train": {"epochs": 7}}, "test")
    offers = {offer.name: offer for offer in deployments(config, {})}
    assert offers["index"].parameters["window_seconds"] == 6
    assert offers["pipeline"].parameters["settings"] == {"index": {"window_seconds": 6.0}, "train": {"epochs": 7}}
    for name in ("index", "pipeline"):
        # The folder of an index has a default.
        assert not {"source", "store", "checkpoint"} & set(offers[name].parameters)
        schema = offers[name]._parameter_openapi_schema.model_dump()
        assert set(offers[name].parameters) <= set(schema["properties"])


def test_prefect_yaml_offers_them_too() -> None:
    written = yaml.safe_load((Path(__file__).parents[3] / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert {"flows/index.py:index", "flows/pipeline.py:pipeline"} <= {each["entrypoint"] for each in written}


def test_a_schedule_cannot_take_the_name_of_a_deployment() -> None:
    schedule = {"name": "pipeline", "source": "v", "store": "s", "interval_seconds": 60}
    with pytest.raises(UsageError, match="a deployment of reeldex has that name"):
        parse_config({"schedules": [schedule]}, "test")
    assert PipelineConfig().index.folder == Path("index")
