"""What would stop a training or an evaluation after minutes is found by the files alone, before anything is opened."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reeldex.embedding.datasets.registry import DATASETS
from reeldex.embedding.datasets.subsets import split_validation
from reeldex.errors import DeviceError, UserError
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.learning.inputs import dataset_options
from reeldex.flows.learning.pipeline import PipelineRequest
from reeldex.flows.learning.pipeline_spaces import PipelineSpaces
from reeldex.flows.learning.training_request import TrainingRequest, require_startable
from tests.embedding.feature_files import make_store, rows_of
from tests.flows.captioned import make_captioned, write_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_captioned(tmp_path_factory.mktemp("start"))
    videos = [f"{kind}{number}" for kind in ("red", "green", "blue") for number in range(3)]
    write_rows(folder / "captions.csv", [["video", "text"], *([video, f"a {video}"] for video in videos for _ in "ab")])
    (folder / "left out.txt").write_text("red0\ngreen1\n", encoding="utf-8")
    return folder


def _config(data: Path, **changes: Any) -> PipelineConfig:  # noqa: ANN401 - sections
    content: dict[str, Any] = {
        "datasets": {
            name: {"folder": str(data), "features": {"store": str(data / "store")}} for name in ("msrvtt", "captions")
        },
        "words": {"train_own": True},
        "train": {"batch_size": 4, "device": "cpu"},
    }
    for key, value in changes.items():
        section, name = key.split("__")
        content[section] = {**content.get(section, {}), name: value}
    return parse_config(content, "test")


_PARTS: list[dict[str, Any]] = [
    {},
    {"exclude": True},
    {"train_share": 0.5},
    {"exclude": True, "train_share": 0.3},
]


@pytest.mark.parametrize(
    ("name", "part"),
    [*((name, part) for name in ("msrvtt", "captions") for part in _PARTS), ("captions", {"n_pair": 3})],
)
@pytest.mark.parametrize("validation_share", [0.0, 0.4])
def test_annotations_alone_say_how_many_samples_there_are(
    data: Path, name: str, part: dict[str, Any], validation_share: float
) -> None:
    options = dataset_options(name, _config(data))
    options = options.replaced(
        **{key: data / "left out.txt" if key == "exclude" else each for key, each in part.items()}
    )
    opened = DATASETS[name].open_training(options)
    expected = len(split_validation(opened, validation_share)[0] if validation_share else opened)
    assert DATASETS[name].sample_limit(options, validation_share, 1000) == expected
    assert DATASETS[name].sample_limit(options, 0.0, 2) in (2, len(opened)), "counting stops when it is enough"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train__batch_size": 13}, "msrvtt has 12 samples, fewer than the 13 of one batch"),
        ({"train__batch_size": 9, "train__validation_share": 0.5}, "fewer than the 9 of one batch"),
        ({"train__batch_size": 1, "train__negative_weighting": False}, "without negatives of another sample"),
        ({"train__evaluate_on": ["lsmdc"]}, "Evaluating on LSMDC needs test_csv"),
        ({"train__evaluate_on": ["youcook2"]}, "YouCook2's test split needs test_pkl"),
        ({"words__train_own": False}, "No word vectors specified"),
        ({"words__train_own": False, "words__file": "none.bin"}, "there is no file none.bin"),
        ({"datasets__msrvtt": {}}, "needs train_csv. Set it, or the folder"),
        ({"datasets__msrvtt": {"folder": "nowhere"}}, "There is no file nowhere/MSRVTT_train.csv"),
    ],
)
def test_a_training_that_cannot_go_through_is_not_begun(data: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as raised:
        require_startable(TrainingRequest("msrvtt", data / "run", _config(data, **changes)))
    assert said in str(raised.value)
    require_startable(TrainingRequest("msrvtt", data / "run", _config(data)))


def test_a_pipeline_is_checked_before_any_video_is_extracted(data: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"not opened")

    def request(**changes: Any) -> PipelineRequest:  # noqa: ANN401
        config = _config(data, extract__weights="random", **changes)
        return PipelineRequest(str(tmp_path / "videos"), tmp_path / "out", config, train_on=_msrvtt())

    with pytest.raises(UserError, match="msrvtt has 12 samples, fewer than the 256"):
        request(train__batch_size=256).prepare()
    with pytest.raises(DeviceError, match="'cuda:77' is not available"):
        request(evaluate__device="cuda:77").prepare()
    request().prepare()


@pytest.mark.parametrize(
    ("extractors", "changes", "spaces"),
    [
        (["resnet152", "resnext101_3d", "wide2d"], {}, (None, None)),
        (["wide2d", "wide3d"], {}, ("wide2d.random", "wide3d.random")),
        (["resnext101_3d", "tiny2d"], {}, ("tiny2d.random", None)),
        (["tiny2d", "wide2d", "wide3d"], {"index__space_2d": "wide2d.random"}, ("wide2d.random", "wide3d.random")),
    ],
)
def test_a_pipeline_uses_the_networks_that_it_extracts(
    data: Path, tmp_path: Path, extractors: list[str], changes: dict[str, Any], spaces: tuple[str | None, str | None]
) -> None:
    config = _config(data, extract__weights="random", extract__extractors=extractors, **changes)
    request = PipelineRequest("videos", tmp_path / "out", config, train_on=_msrvtt(), evaluate_on=(_test_set(),))
    training, evaluation = request.training(), request.evaluation("best.pth")
    assert training is not None
    assert evaluation is not None
    for each in (training, evaluation):
        features = each.config.datasets.msrvtt.features
        assert features is not None
        assert (features.store, features.space_2d, features.space_3d) == (tmp_path / "out" / "features", *spaces)
    indexed = request.indexing("best.pth").config.index
    assert (indexed.space_2d, indexed.space_3d) == spaces


def test_a_network_that_joins_a_pipeline_does_not_take_the_place_of_the_papers(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_store(tmp_path, {"a": rows_of("a")})
    (tmp_path / "store").rename(tmp_path / "features")
    config = _config(data, extract__weights="random", extract__extractors=["wide2d", "resnext101_3d"])
    for checkpoint in ("", "published"):
        spaces = PipelineRequest("videos", tmp_path, config, checkpoint, _msrvtt()).spaces
        assert spaces.found() == spaces.checked() == (None, None)
    assert caplog.text.count("of resnet152, which this run does not extract") == 2
    assert "Add resnet152 to extract.extractors, or set index.space_2d" in caplog.text
    assert "resnext101_3d, which" not in caplog.text


@pytest.mark.parametrize("note", [None, "{", "[]", "7", '{"space_2d": null}', '{"space_2d": 7, "space_3d": null}'])
def test_a_pipeline_keeps_to_the_features_that_its_embedding_was_trained_on(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, note: str | None
) -> None:
    def spaces(**changes: Any) -> PipelineSpaces:  # noqa: ANN401 - settings
        return PipelineRequest(
            "videos", tmp_path, _config(data, extract__weights="random", **changes), train_on=_msrvtt()
        ).spaces

    if note is None:
        spaces(extract__extractors=["wide2d", "wide3d"]).keep()
    else:
        (tmp_path / "spaces.json").write_text(note)
    later = spaces()
    assert later.found() == (("wide2d.random", "wide3d.random") if note is None else (None, None))
    assert ("spaces.json is damaged" in caplog.text) == (note is not None)
    assert dataclasses.replace(later, checkpoint="published").found() == (None, None), "it needs the paper's"
    store = make_store(tmp_path / "other", {"a": rows_of("a")}).path
    named = dataclasses.replace(spaces(index__space_3d="resnext101_3d.test"), store=store)
    assert named.found()[1] == "resnext101_3d.test", "what is named comes first"
    with pytest.raises(UserError, match=r"index.space_3d is resnext101_3d.tst, which is neither in .* Spaces are: res"):
        dataclasses.replace(spaces(index__space_3d="resnext101_3d.tst"), store=store).found()


@pytest.mark.parametrize(
    ("extractors", "checkpoint", "said"),
    [
        (["tiny2d", "wide2d", "wide3d"], "", "one 2-D network, and extract.extractors has tiny2d, wide2d. Name resnet"),
        (
            ["wide2d"],
            "",
            "one 3-D network, and extract.extractors has only wide2d. Name resnext101_3d there",
        ),
        (
            ["wide2d", "wide3d"],
            "published",
            "The checkpoint published may need features of resnet152, .* has wide2d",
        ),
    ],
)
def test_a_pipeline_whose_features_are_not_clear_is_refused_before_it_extracts(
    data: Path, tmp_path: Path, extractors: list[str], checkpoint: str, said: str
) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"not opened")

    config = _config(data, extract__weights="random", extract__extractors=extractors)
    with pytest.raises(UserError, match=said):
        PipelineRequest(str(tmp_path / "videos"), tmp_path / "out", config, checkpoint, _msrvtt()).prepare()


def test_a_checkpoint_is_used_with_other_features_that_are_named(data: Path, tmp_path: Path) -> None:
    named = {"index__space_2d": "wide2d.random", "index__space_3d": "wide3d.random"}
    config = _config(data, extract__weights="random", extract__extractors=["wide2d", "wide3d"], **named)
    request = PipelineRequest("videos", tmp_path / "out", config, "published", _msrvtt())
    assert request.spaces.found() == ("wide2d.random", "wide3d.random")


def _test_set() -> Any:  # noqa: ANN401 - an enumeration
    from reeldex.flows.config.learning import TestSet

    return TestSet("msrvtt")


def _msrvtt() -> Any:  # noqa: ANN401 - an enumeration
    from reeldex.flows.config.learning import TrainingDataset

    return TrainingDataset("msrvtt")


def test_the_checks_of_a_training_need_no_pytorch(data: Path) -> None:
    program = (
        "import sys, json; from pathlib import Path\n"
        "from reeldex.flows.config.pipeline import parse_config\n"
        "from reeldex.flows.learning.training_request import TrainingRequest, require_startable\n"
        "require_startable(TrainingRequest('msrvtt', Path('run'), parse_config(json.loads(sys.argv[1]), 'test')))\n"
        "assert 'torch' not in sys.modules"
    )
    config = json.dumps(_config(data).model_dump(mode="json"))
    done = subprocess.run(
        [sys.executable, "-c", program, config], cwd=data, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
