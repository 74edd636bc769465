"""`reeldex train` and `reeldex evaluate`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter

from reeldex.cli.command import NonEmptyPath, Output, command
from reeldex.cli.server_choice import ServerChoice, uses_server
from reeldex.cli.settings import Given, Setting, pairs, setting, settings_of
from reeldex.embedding.options import ModelOptions
from reeldex.errors import UsageError
from reeldex.flows.config.learning import EpicPresetName, EvaluateConfig, TestSet, TrainConfig, TrainingDataset
from reeldex.flows.config.notify import REVEALED
from reeldex.flows.config.pipeline import PipelineConfig, parse_config

_DATA = "Data set"
_OWN_CAPTIONS = "Captions of one's own"
_EPIC = "EPIC-KITCHENS by label files"
_FEATURES = "datasets.*.features"
_DATA_SETTINGS: tuple[Setting, ...] = (
    setting(f"{_FEATURES}.store", _DATA),
    setting(f"{_FEATURES}.space_2d", _DATA),
    setting(f"{_FEATURES}.space_3d", _DATA),
    setting(f"{_FEATURES}.skip_damaged", _DATA),
    setting(f"{_FEATURES}.folder_2d", _DATA, "--features-2d"),
    setting(f"{_FEATURES}.folder_3d", _DATA, "--features-3d"),
    setting(f"{_FEATURES}.rows_per_second", _DATA),
    setting("datasets.*.folder", _DATA, "--data"),
    setting("datasets.*.max_missing_share", _DATA),
)
_CAPTIONS_SETTINGS: tuple[Setting, ...] = (
    setting("datasets.captions.captions", _OWN_CAPTIONS),
    setting("datasets.captions.split", _OWN_CAPTIONS),
)
_EPIC_SETTINGS: tuple[Setting, ...] = (
    setting("train.preset", _EPIC),
    setting("datasets.epic.clips_per_sample", _EPIC),
    setting("datasets.epic.clips_before", _EPIC),
    setting("datasets.epic.clips_filter_length", _EPIC),
    setting("datasets.epic.labels", _EPIC),
    setting("datasets.epic.verb_only", _EPIC),
)
_WORDS = "Word vectors"
WORD_SETTINGS: tuple[Setting, ...] = (
    setting("words.file", _WORDS, "--word-vectors"),
    setting("words.format", _WORDS, "--word-format"),
    setting("words.cache_folder", _WORDS, "--word-cache"),
    setting("words.unchecked", _WORDS, "--word-vectors-unchecked"),
)
"""Flags on the word vectors to use."""
WORD_TRAINING_SETTINGS: tuple[Setting, ...] = (
    setting("words.train_own", _WORDS, "--train-word-vectors"),
    setting("words.training.dim", _WORDS, "--word-dim"),
)
"""Flags on learning word vectors."""

Checkpoint = Annotated[
    str, Parameter(metavar="FILE", help="`published` is the HowTo100M checkpoint, downloaded if missing.")
]
File = Annotated[
    tuple[str, ...],
    Parameter(
        name="--file", metavar="NAME=PATH", help="A file of the data set by its key, such as test_csv (repeatable)."
    ),
]


@command(
    "train",
    details="Writes last.pth, best.pth, tensorboard/ and the metrics as JSON into --out. If it is killed at any step, "
    "--resume continues and ends with the same weights. docs/datasets.md describes the files of each data set; every "
    "option is also a key of pipeline.yaml. Several GPUs: torchrun --nproc-per-node N -m reeldex train ...\n\n"
    "Exit status: 0 trained to the end; 1 stopped by a loss that is not finite, or an infrastructure error; 2 wrong "
    "usage, configuration or input.",
    example="reeldex train --dataset howto100m --store ~/features --file csv=HowTo100M_v1.csv --file "
    "captions=caption.pickle --word-vectors GoogleNews-vectors-negative300.bin --n-pair 64 --out ~/ckpt",
    settings=(
        *_DATA_SETTINGS,
        *(
            setting(f"datasets.*.{name}", _DATA)
            for name in ("n_pair", "exclude", "train_share", "max_rank", "stop_words")
        ),
        *WORD_SETTINGS,
        *WORD_TRAINING_SETTINGS,
        *(
            each
            for each in settings_of("train", TrainConfig, "Training", compile_model="--compile")
            if each.key != "train.preset"
        ),
        *settings_of("train.model", ModelOptions, "Model"),
        *_CAPTIONS_SETTINGS,
        *_EPIC_SETTINGS,
    ),
)
def train(  # noqa: PLR0913 - each is an option
    *,
    dataset: Annotated[TrainingDataset, Parameter(help="Data set to train on.")],
    out: Annotated[NonEmptyPath, Parameter(metavar="DIR", help="Folder of this training.")],
    checkpoint: Annotated[
        str | None,
        Parameter(metavar="FILE", help="Start from these weights; `published` is the HowTo100M checkpoint."),
    ] = None,
    resume: Annotated[bool, Parameter(help="Continue the training in --out.")] = False,
    file: File = (),
    server: ServerChoice = None,
    given: Given,
    output: Output,
) -> int:
    """Train the text-video embedding on features and captions."""
    config = _configuration(given, [dataset], file)
    from reeldex.embedding.errors import LossNotFiniteError
    from reeldex.embedding.training.distributed import ProcessRank
    from reeldex.errors import InfrastructureError
    from reeldex.flows.learning.training import train_embedding
    from reeldex.flows.learning.training_progress import TrainingProgress
    from reeldex.flows.learning.training_request import TrainingRequest, require_startable

    # Under torchrun only the first process prints the result.
    request = TrainingRequest(dataset, out, config, checkpoint, resume)
    require_startable(request)
    try:
        if not ProcessRank.from_environment().is_first:
            train_embedding(request, TrainingProgress(config.train.epochs))
            return 0
        if uses_server(server, verbose=output.verbose):
            from reeldex.flows.train import train_as_flow_run as run_training
        else:
            from reeldex.flows.learning.in_process import train_here as run_training
        report = run_training(request)
    except (LossNotFiniteError, InfrastructureError) as error:
        return output.refuse(error, 1)
    text = [f"{report}."] if report.evaluation is None else [f"{report}.", "", str(report.evaluation)]
    output.respond(report.to_json(), "\n".join(text))
    return 0


@command(
    "evaluate",
    details="Prints R@1, R@5, R@10 and the median rank over whole test sets, both directions, with 95 % intervals. A "
    "JSON report is written beside the checkpoint. Each video (or clip) is one candidate. Text to video ranks the "
    "videos for every sentence; video to text takes the best rank of a video's own sentences. Ties count against the "
    "model. The paper's figures are shown beside a test set only if its SHA-256 is that of the published one. "
    "crosstask is measured by step localization: recall of each task, and the average.\n\n"
    "Exit status: 0 evaluated; 1 stopped by an infrastructure error; 2 wrong usage, configuration or input.",
    example="reeldex evaluate --checkpoint published --data published --dataset msrvtt --dataset youcook2",
    settings=(
        *_DATA_SETTINGS,
        setting("datasets.*.protocol", "Protocol"),
        setting("datasets.*.published_sha256", "Protocol"),
        *WORD_SETTINGS,
        *settings_of("evaluate", EvaluateConfig, "Evaluation"),
        *_CAPTIONS_SETTINGS,
        *_EPIC_SETTINGS,
    ),
)
def evaluate(  # noqa: PLR0913 - each is an option
    *,
    checkpoint: Checkpoint,
    dataset: Annotated[tuple[TestSet, ...], Parameter(help="Test set (repeatable).")],
    save_ranking: Annotated[
        NonEmptyPath | None, Parameter(metavar="FILE", help="Write the best clips of each sentence as CSV.")
    ] = None,
    file: File = (),
    server: ServerChoice = None,
    given: Given,
    output: Output,
) -> int:
    """Evaluate text-video retrieval with a checkpoint."""
    names = tuple(dict.fromkeys(dataset))
    config = _configuration(given, names, file, without_preset="epic" not in names)
    from reeldex.errors import InfrastructureError
    from reeldex.flows.learning.evaluation import EvaluationRequest, require_evaluable

    request = EvaluationRequest(checkpoint, names, config, save_ranking)
    require_evaluable(request)
    try:
        if uses_server(server, verbose=output.verbose):
            from reeldex.flows.evaluate import evaluate_as_flow_run as run_evaluation
        else:
            from reeldex.flows.learning.in_process import evaluate_here as run_evaluation
        report = run_evaluation(request)
    except InfrastructureError as error:
        return output.refuse(error, 1)
    files = "\n".join(f"  {each}" for each in (report.report_file, *report.ranking_files))
    output.respond(report.to_json(), f"{report}\n\nWritten:\n{files}")
    return 0


def _configuration(
    given: Given, datasets: tuple[str, ...] | list[str], files: tuple[str, ...], *, without_preset: bool = False
) -> PipelineConfig:
    """Return the configuration, overridden by the preset, then --set, then the flags."""
    from reeldex.flows.learning.inputs import with_preset

    config = given.load()
    preset = given.values.get("train.preset")
    for dataset, settings in (("epic", _EPIC_SETTINGS), ("captions", _CAPTIONS_SETTINGS)):
        misplaced = [each for each in settings if each.key in given.values and dataset not in datasets]
        if misplaced:
            raise UsageError(f"{misplaced[0].flag} requires --dataset {dataset}.")
    if preset or without_preset:
        chosen = EpicPresetName(preset) if preset else None
        config = config.model_copy(update={"train": config.train.model_copy(update={"preset": chosen})})
    content = with_preset(config, datasets).model_dump(mode="json", context=REVEALED)
    flags = replace(given, values={key: value for key, value in given.values.items() if key != "train.preset"})
    flags.overlay(content)
    for dataset in datasets:
        _put_dataset(content["datasets"][dataset.replace("-", "_")], given, files, only=len(datasets) == 1)
    return parse_config(content, "command line")


def _put_dataset(section: dict[str, Any], given: Given, files: tuple[str, ...], *, only: bool) -> None:
    if files and not only:
        raise UsageError("--file requires a single --dataset; use --set datasets.NAME.FILE=PATH for several.")
    section.update(pairs(files, "--file NAME=PATH"))
    for name, value in given.of("datasets.*").items():
        if name in {"protocol", "published_sha256"} and not only:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} requires a single --dataset; use --set datasets.NAME.{name}={value} for several."
            )
        section[name] = value
    features = _features(given.of(_FEATURES))
    if not features:
        return
    before = section["features"] if isinstance(section["features"], dict) else {}
    replaced = ("folder_2d", "folder_3d") if "store" in features else ("store",) if "folder_2d" in features else ()
    section["features"] = {**{key: value for key, value in before.items() if key not in replaced}, **features}


def _features(given: dict[str, Any]) -> dict[str, Any]:
    folders = [name for name in ("folder_2d", "folder_3d") if name in given]
    if folders and ("store" in given or len(folders) < 2):
        raise UsageError("Give features as --store DIR, or as --features-2d DIR and --features-3d DIR.")
    return given
