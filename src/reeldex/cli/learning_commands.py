"""What `reeldex train` and `reeldex evaluate` do."""

from __future__ import annotations

from typing import Any

from reeldex.cli.answers import Arguments, honest, pairs, refuse, respond
from reeldex.cli.overrides import put_given, put_settings, put_words
from reeldex.cli.server_choice import uses_server
from reeldex.errors import UsageError
from reeldex.flows.config.learning import EpicPresetName
from reeldex.flows.config.pipeline import PipelineConfig, load_config, parse_config

# Section of the configuration -> the options that are called as its keys are.
_TRAIN = (
    "epochs", "batch_size", "learning_rate", "lr_decay", "loss", "margin", "negative_weighting", "hard_negative_rate",
    "seed", "workers", "device", "mixed_precision", "compile_model", "evaluate_every", "checkpoint_every_steps",
    "log_every", "best_by",
)  # fmt: skip
_MODEL = ("embed_dim", "sentence_dim", "max_words")
_EVALUATE = ("batch_size", "resamples", "ranking_length", "max_words", "seed", "device")
_EPIC = ("clips_per_sample", "clips_before", "clips_filter_length", "labels", "verb_only")


@honest
def run_train(arguments: Arguments) -> int:
    """Train; under torchrun the first process answers, and the others do their part of the work."""
    config = _config(arguments, [arguments.dataset], _train_settings)
    from reeldex.embedding.errors import LossNotFiniteError
    from reeldex.embedding.training.distributed import ProcessRank
    from reeldex.errors import InfrastructureError
    from reeldex.flows.learning.training import TrainingRequest, require_startable, train_embedding
    from reeldex.flows.learning.training_progress import TrainingProgress

    request = TrainingRequest(arguments.dataset, arguments.out, config, arguments.checkpoint, arguments.resume)
    require_startable(request)
    try:
        if not ProcessRank.from_environment().is_first:
            train_embedding(request, TrainingProgress(config.train.epochs))
            return 0
        if uses_server(arguments.server, verbose=arguments.verbose):
            from reeldex.flows.train import train_as_flow_run as train
        else:
            from reeldex.flows.learning.in_process import train_here as train
        report = train(request)
    except (LossNotFiniteError, InfrastructureError) as error:
        return refuse(arguments, error, 1)
    text = [f"{report}."] if report.evaluation is None else [f"{report}.", "", str(report.evaluation)]
    respond(arguments, report.to_json(), "\n".join(text))
    return 0


@honest
def run_evaluate(arguments: Arguments) -> int:
    """Evaluate a checkpoint on test sets."""
    config = _config(arguments, arguments.dataset, _evaluate_settings)
    from reeldex.errors import InfrastructureError
    from reeldex.flows.learning.evaluation import EvaluationRequest, require_evaluable

    names = tuple(dict.fromkeys(arguments.dataset))
    request = EvaluationRequest(arguments.checkpoint, names, config, arguments.save_ranking)
    require_evaluable(request)
    try:
        if uses_server(arguments.server, verbose=arguments.verbose):
            from reeldex.flows.evaluate import evaluate_as_flow_run as evaluate
        else:
            from reeldex.flows.learning.in_process import evaluate_here as evaluate
        report = evaluate(request)
    except InfrastructureError as error:
        return refuse(arguments, error, 1)
    files = "\n".join(f"  {file}" for file in (report.report_file, *report.ranking_files))
    respond(arguments, report.to_json(), f"{report}\n\nWritten:\n{files}")
    return 0


def _config(arguments: Arguments, datasets: list[str], settings: Any) -> PipelineConfig:  # noqa: ANN401 - a function
    """Return the configuration with the preset, then --set, then the other options put over it."""
    from reeldex.flows.learning.inputs import with_preset

    config = load_config(arguments.config)
    epic = {name: value for name in _EPIC if (value := getattr(arguments, name)) is not None}
    if (epic or arguments.preset) and "epic" not in datasets:
        option = next(iter(epic), "preset").replace("_", "-")
        raise UsageError(f"--{option} goes with --dataset epic.")
    if arguments.preset:
        preset = EpicPresetName(arguments.preset)
        config = config.model_copy(update={"train": config.train.model_copy(update={"preset": preset})})
    elif arguments.command == "evaluate" and "epic" not in datasets:
        config = config.model_copy(update={"train": config.train.model_copy(update={"preset": None})})
    content = with_preset(config, datasets).model_dump(mode="json")
    put_settings(content, arguments)
    content["datasets"]["epic"].update(epic)
    for dataset in datasets:
        _put_dataset(content["datasets"][dataset.replace("-", "_")], arguments, only=len(set(datasets)) == 1)
    put_words(content["words"], arguments)
    settings(content, arguments)
    return parse_config(content, "command line")


def _train_settings(content: dict[str, Any], arguments: Arguments) -> None:
    put_given(content["train"], arguments, _TRAIN)
    put_given(content["train"]["model"], arguments, _MODEL)
    if arguments.evaluate_on is not None:
        content["train"]["evaluate_on"] = [name.strip() for name in arguments.evaluate_on.split(",") if name.strip()]
    if arguments.n_pair is not None:
        content["datasets"][arguments.dataset.replace("-", "_")]["n_pair"] = arguments.n_pair


def _evaluate_settings(content: dict[str, Any], arguments: Arguments) -> None:
    put_given(content["evaluate"], arguments, _EVALUATE)


def _put_dataset(section: dict[str, Any], arguments: Arguments, *, only: bool) -> None:
    if arguments.file and not only:
        raise UsageError("--file goes with one --dataset; use --set datasets.NAME.FILE=PATH for several.")
    section.update(pairs(arguments.file, "--file NAME=PATH"))
    if arguments.data is not None:
        section["folder"] = arguments.data
    _put_protocol(section, arguments, only=only)
    if arguments.max_missing_share is not None:
        section["max_missing_share"] = arguments.max_missing_share
    features = _features(arguments)
    if not features:
        return
    given = section["features"]
    before = given if isinstance(given, dict) else {}
    replaced = ("folder_2d", "folder_3d") if "store" in features else ("store",) if "folder_2d" in features else ()
    section["features"] = {**{key: value for key, value in before.items() if key not in replaced}, **features}


def _put_protocol(section: dict[str, Any], arguments: Arguments, *, only: bool) -> None:
    for name in ("protocol", "published_sha256"):
        value = getattr(arguments, name, None)  # `train` has no such options
        if value is None:
            continue
        if not only:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} goes with one --dataset; use --set datasets.NAME.{name}={value} for several.")
        section[name] = value


def _features(arguments: Arguments) -> dict[str, Any]:
    folders = (arguments.features_2d, arguments.features_3d)
    if any(folders) and (arguments.store or not all(folders)):
        raise UsageError("Features are given by --store DIR, or by --features-2d DIR and --features-3d DIR.")
    given = {
        "store": arguments.store,
        "space_2d": arguments.space_2d,
        "space_3d": arguments.space_3d,
        "folder_2d": arguments.features_2d,
        "folder_3d": arguments.features_3d,
        "rows_per_second": arguments.rows_per_second and arguments.rows_per_second.split(","),
    }
    return {name: value for name, value in given.items() if value is not None}
