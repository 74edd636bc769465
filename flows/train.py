"""The flow `train`: from features and captions to checkpoints of the text-video embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from reeldex.flows.config.forms import Form, key_field
from reeldex.flows.config.learning import TrainingDataset
from reeldex.flows.config.pipeline import NonEmpty, PipelineConfig
from reeldex.flows.learning.inputs import with_preset
from reeldex.flows.learning.training import TrainingReport, train_embedding
from reeldex.flows.learning.training_progress import TrainingProgress
from reeldex.flows.learning.training_request import TrainingRequest, require_startable
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.runs.as_flow_run import report_of
from reeldex.flows.runs.evaluation_artifacts import publish_evaluation
from reeldex.flows.runs.form_fields import DataFolder, StoreOfDataset
from reeldex.flows.runs.form_flow import form_flow
from reeldex.flows.runs.names import train_run_name
from reeldex.flows.runs.progress_artifact import progress_artifact
from reeldex.storage.atomic import publish_text

# File in the folder of a training: the flow run that last started or resumed it.
_RUN_NOTE = "flow-run.txt"

DESCRIPTION = """\
Train the **text-video embedding** on extracted features and their captions.

1. *Data set*: which one; *Data folder*: its files. *Store*: the feature store of its videos.
2. *Training folder*: gets `last.pth`, `best.pth`, `tensorboard/` and the metrics as JSON.
3. *Start from*: a checkpoint's path, `published` for the HowTo100M one, or empty to train from scratch.
4. Press **Submit**. The log shows the loss; *Artifacts* shows progress and at the end a table of retrieval metrics
   with the paper's for comparison, if there are *Test sets* to evaluate on.

**Retry** of a run that failed or was stopped resumes from its last checkpoint, and ends with the same weights as an
uninterrupted run (bit for bit on a CPU).
"""


FORM = Form(
    "train",
    ("train", "datasets", "words", "evaluate", "weights"),
    (
        key_field("words.file", "word_vectors"),
        key_field("words.train_own", "learn_word_vectors"),
        key_field("train.evaluate_on"),
        key_field("train.epochs"),
        key_field("train.batch_size"),
        key_field("train.device"),
    ),
    former={
        "options": "train",
        "datasets": "datasets",
        "words": "words",
        "evaluation": "evaluate",
        "weights": "weights",
    },
)


@form_flow(FORM, description=DESCRIPTION, run_name=train_run_name, example='{"train.learning_rate": 0.001}')
def train(  # noqa: PLR0913 - each is a field of the form in the UI
    *,
    dataset: Annotated[TrainingDataset, Field(title="Data set", description="The data set to train on.")],
    folder: Annotated[
        NonEmpty, Field(title="Training folder", description="Gets the checkpoints and figures; created if absent.")
    ],
    store: StoreOfDataset = "",
    data_folder: DataFolder = "",
    checkpoint: Annotated[
        str,
        Field(
            title="Start from",
            description="A checkpoint, or published for the HowTo100M one. Empty: train from scratch.",
        ),
    ] = "",
    resume: Annotated[
        bool,
        Field(title="Continue", description="Continue the training in the folder, from its last checkpoint."),
    ] = False,
    config: PipelineConfig,
) -> State[Any]:
    """Train the text-video embedding."""
    ready = with_preset(config, [dataset]).with_store(dataset, store).with_data_folder(dataset, data_folder)
    again = resume or _begun_by_this_run(Path(folder))
    return _train(TrainingRequest(dataset.value, Path(folder), ready, checkpoint or None, again))


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
    # The command draws the progress bar, not the flow, which may run in another process.
    with progress_bar():
        return report_of(
            TrainingReport,
            train,
            dataset=TrainingDataset(request.dataset),
            folder=str(request.folder),
            checkpoint=request.checkpoint or "",
            resume=request.resume,
            **FORM.parameters(request.config),
        )
