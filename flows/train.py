"""The flow `train`: from features and captions to checkpoints of the text-video embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from reeldex.flows.config.datasets import DatasetsConfig
from reeldex.flows.config.learning import EvaluateConfig, TrainConfig, TrainingDataset, WordsConfig
from reeldex.flows.config.pipeline import NonEmpty, PipelineConfig, WeightsConfig
from reeldex.flows.learning.inputs import with_preset
from reeldex.flows.learning.training import TrainingReport, TrainingRequest, require_startable, train_embedding
from reeldex.flows.learning.training_progress import TrainingProgress
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.runs.as_flow_run import report_of
from reeldex.flows.runs.evaluation_artifacts import publish_evaluation
from reeldex.flows.runs.names import train_run_name
from reeldex.flows.runs.progress_artifact import progress_artifact
from reeldex.flows.runs.states import run_to_state
from reeldex.storage.atomic import publish_text

# File in the folder of a training: the flow run that last started or resumed it.
_RUN_NOTE = "flow-run.txt"

DESCRIPTION = """\
Train the **text-video embedding** on extracted features and their captions.

1. *dataset*: which data set; *datasets* names its files. *store*: the feature store of its videos.
2. *folder*: gets `last.pth`, `best.pth`, `tensorboard/` and the metrics as JSON.
3. *checkpoint*: what to start from. A path, `published` for the HowTo100M one, or empty to train from scratch.
4. Press **Submit**. The log shows the loss; *Artifacts* shows progress and at the end a table of retrieval metrics
   with the paper's for comparison, if *options* names test sets to evaluate on.

**Retry** of a run that failed or was stopped resumes from its last checkpoint, and ends with the same weights as an
uninterrupted run (bit for bit on a CPU).
"""


@flow(name="train", description=DESCRIPTION, flow_run_name=train_run_name)
def train(  # noqa: PLR0913, PLR0917 - each is a field of the form in the UI
    dataset: TrainingDataset,
    folder: NonEmpty,
    store: str = "",
    checkpoint: str = "",
    resume: bool = False,  # noqa: FBT001, FBT002
    options: TrainConfig = TrainConfig(),  # noqa: B008 - frozen
    datasets: DatasetsConfig = DatasetsConfig(),  # noqa: B008
    words: WordsConfig = WordsConfig(),  # noqa: B008
    evaluation: EvaluateConfig = EvaluateConfig(),  # noqa: B008
    weights: WeightsConfig = WeightsConfig(),  # noqa: B008
) -> State[Any]:
    """Train the text-video embedding.

    Args:
        dataset: The data set to train on.
        folder: The folder of this training; created if absent.
        store: The feature store of the data set's videos; empty uses the setting in datasets.
        checkpoint: A checkpoint to start from, or published; empty trains from scratch.
        resume: Resume the training in the folder.
        options: How to train.
        datasets: Where the data sets are stored.
        words: The word vectors.
        evaluation: How to evaluate.
        weights: Where downloads are stored.
    """
    config = PipelineConfig(datasets=datasets, words=words, train=options, evaluate=evaluation, weights=weights)

    def work() -> State[Any]:
        ready = with_preset(config, [dataset]).with_store(dataset, store)
        again = resume or _begun_by_this_run(Path(folder))
        return _train(TrainingRequest(dataset.value, Path(folder), ready, checkpoint or None, again))

    return run_to_state(work)


def _begun_by_this_run(folder: Path) -> bool:
    """Whether an earlier attempt of this flow run started the training in `folder`: Retry resumes only its own."""
    try:
        return (folder / _RUN_NOTE).read_text(encoding="utf-8") == str(flow_run.id)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _train(request: TrainingRequest) -> State[Any]:
    require_startable(request)
    request.folder.mkdir(parents=True, exist_ok=True)
    publish_text(request.folder / _RUN_NOTE, str(flow_run.id))
    with progress_artifact("Opening the data set"):
        report = train_embedding(request, TrainingProgress(request.config.train.epochs))
    if report.evaluation is not None:
        publish_evaluation(report.evaluation)
    return Completed(message=f"{report}.", data=report)


def train_as_flow_run(request: TrainingRequest) -> TrainingReport:
    """Create a flow run for a request, and return its report or raise its error."""
    config = request.config
    # The command draws the progress bar, not the flow, which may run in another process.
    with progress_bar():
        return report_of(
            TrainingReport,
            train,
            TrainingDataset(request.dataset),
            str(request.folder),
            checkpoint=request.checkpoint or "",
            resume=request.resume,
            options=config.train,
            datasets=config.datasets,
            words=config.words,
            evaluation=config.evaluate,
            weights=config.weights,
        )
