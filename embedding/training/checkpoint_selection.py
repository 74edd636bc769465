"""The figure that selects the best checkpoint of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reeldex.embedding.datasets.subsets import VALIDATION
from reeldex.embedding.errors import TrainingError

_RECALL = "text_to_video/recall_at_10"
_LOCALIZATION = "localization/average_recall"
_OF_VALIDATION = f"{VALIDATION}/{_RECALL}"


@dataclass(frozen=True, slots=True)
class SelectionScore:
    """The name and value of the figure that rates a checkpoint; higher is better."""

    by: str
    value: float


def selection_score(figures: Mapping[str, float], mean_loss: float, best_by: str | None) -> SelectionScore:
    """Return the score of a checkpoint.

    That is the figure named `best_by` (a median rank counts negatively), or the recall at 10 of text to video of the
    validation split, or without one the mean of all these recalls and of the average recalls of step localization, or
    without figures the negative mean loss. Raises TrainingError when there is no such figure.
    """
    if best_by is None and _OF_VALIDATION in figures:
        return SelectionScore(_OF_VALIDATION, figures[_OF_VALIDATION])
    if best_by is None:
        recalls = {name: value for name, value in figures.items() if name.endswith((_RECALL, _LOCALIZATION))}
        if not recalls:
            return SelectionScore("loss", -mean_loss)
        return SelectionScore(" + ".join(sorted(recalls)), sum(recalls.values()) / len(recalls))
    if best_by not in figures:
        raise TrainingError(
            f"The best checkpoint cannot be chosen by {best_by!r}: the evaluation has "
            f"{', '.join(sorted(figures)) or 'no figures'}."
        )
    return SelectionScore(best_by, -figures[best_by] if best_by.endswith("median_rank") else figures[best_by])
