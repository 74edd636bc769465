"""The data sets by name: how each one's splits are opened, and what was published for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from embedding.datasets import epic_labels, epic_retrieval, howto100m, lsmdc, msrvtt, youcook2
from embedding.datasets.records import EvaluationSet, TrainingSet


@dataclass(frozen=True)
class DatasetRecord:
    """A data set: `options` is the frozen dataclass that both functions take.

    `open_evaluation` is None where nothing is evaluated. `protocol` names the published table that figures on the whole
    test set can stand beside: "retrieval" (one right clip a sentence), "classes" (verb classes) or "multi-instance"
    (graded relevance).
    """

    name: str
    title: str
    options: type
    open_training: Callable[[Any], TrainingSet]
    open_evaluation: Callable[[Any], EvaluationSet] | None
    protocol: str = "retrieval"


def _records() -> Mapping[str, DatasetRecord]:
    records = (
        DatasetRecord(
            howto100m.NAME, "HowTo100M", howto100m.Howto100mOptions, howto100m.open_training, open_evaluation=None
        ),
        DatasetRecord(
            msrvtt.NAME, "MSR-VTT (1k-A)", msrvtt.MsrvttOptions, msrvtt.open_training, msrvtt.open_evaluation
        ),
        DatasetRecord(
            youcook2.NAME, "YouCook2", youcook2.Youcook2Options, youcook2.open_training, youcook2.open_evaluation
        ),
        DatasetRecord(lsmdc.NAME, "LSMDC", lsmdc.LsmdcOptions, lsmdc.open_training, lsmdc.open_evaluation),
        DatasetRecord(
            epic_labels.NAME,
            "EPIC-KITCHENS by label files",
            epic_labels.EpicLabelOptions,
            epic_labels.open_training,
            epic_labels.open_evaluation,
            protocol="classes",
        ),
        DatasetRecord(
            epic_retrieval.NAME,
            "EPIC-KITCHENS-100 multi-instance retrieval",
            epic_retrieval.EpicRetrievalOptions,
            epic_retrieval.open_training,
            epic_retrieval.open_evaluation,
            protocol="multi-instance",
        ),
    )
    return MappingProxyType({record.name: record for record in records})


DATASETS = _records()
"""Every data set that can be trained or evaluated on, by name."""
