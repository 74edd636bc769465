"""Training, evaluation and indexing by commands without a Prefect server, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reeldex.flows.learning.evaluation import EvaluationReport, EvaluationRequest, evaluate_checkpoint
from reeldex.flows.learning.indexing import IndexingRequest, build_moment_index
from reeldex.flows.learning.indexing_progress import IndexingProgress
from reeldex.flows.learning.training import TrainingReport, train_embedding
from reeldex.flows.learning.training_progress import TrainingProgress
from reeldex.flows.learning.training_request import TrainingRequest
from reeldex.flows.progress.sinks import progress_bar

if TYPE_CHECKING:
    from reeldex.search.report import BuildReport


def train_here(request: TrainingRequest) -> TrainingReport:
    """Train and show progress: a bar on a terminal, else log lines. Raises what `train_embedding` does."""
    with progress_bar():
        return train_embedding(request, TrainingProgress(request.config.train.epochs))


def evaluate_here(request: EvaluationRequest) -> EvaluationReport:
    """Evaluate. Raises what `evaluate_checkpoint` does."""
    return evaluate_checkpoint(request)


def index_here(request: IndexingRequest) -> BuildReport:
    """Build the index and show progress: a bar on a terminal, else log lines. Raises what `build_moment_index` does."""
    with progress_bar():
        return build_moment_index(request, IndexingProgress())
