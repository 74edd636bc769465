"""The data sets by name, and how each one's splits are opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from reeldex.embedding.datasets import (
    captions,
    crosstask,
    epic_labels,
    epic_retrieval,
    howto100m,
    lsmdc,
    msrvtt,
    youcook2,
)
from reeldex.embedding.datasets.captions_options import CaptionsOptions
from reeldex.embedding.datasets.crosstask_options import CrosstaskOptions
from reeldex.embedding.datasets.epic_options import EpicLabelOptions, EpicRetrievalOptions
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.datasets.localization import EvaluatedSet
from reeldex.embedding.datasets.options import LsmdcOptions, MsrvttOptions, Youcook2Options
from reeldex.embedding.datasets.records import TrainingSet
from reeldex.embedding.datasets.subsets import selected
from reeldex.embedding.errors import DatasetError


@dataclass(frozen=True)
class DatasetRecord:
    """A data set: `options` is the frozen model that both functions take.

    `read_training` opens all samples of the training split, None where there is none. `open_evaluation` is None where
    nothing is evaluated.
    """

    name: str
    options: type
    read_training: Callable[[Any], TrainingSet] | None
    open_evaluation: Callable[[Any], EvaluatedSet] | None

    def open_training(self, options: Any) -> TrainingSet:  # noqa: ANN401 - each data set has its own options
        """Open the training split, without excluded videos and those beyond `train_share`.

        Raises DatasetError when the data set has none.
        """
        if self.read_training is None:
            raise DatasetError(f"{self.name} has no training split. Train on another data set.")
        return selected(self.read_training(options), options)


_RECORDS = (
    DatasetRecord(howto100m.NAME, Howto100mOptions, howto100m.open_training, open_evaluation=None),
    DatasetRecord(msrvtt.NAME, MsrvttOptions, msrvtt.open_training, msrvtt.open_evaluation),
    DatasetRecord(youcook2.NAME, Youcook2Options, youcook2.open_training, youcook2.open_evaluation),
    DatasetRecord(lsmdc.NAME, LsmdcOptions, lsmdc.open_training, lsmdc.open_evaluation),
    DatasetRecord(epic_labels.NAME, EpicLabelOptions, epic_labels.open_training, epic_labels.open_evaluation),
    DatasetRecord(
        epic_retrieval.NAME,
        EpicRetrievalOptions,
        epic_retrieval.open_training,
        epic_retrieval.open_evaluation,
    ),
    DatasetRecord(captions.NAME, CaptionsOptions, captions.open_training, captions.open_evaluation),
    DatasetRecord(crosstask.NAME, CrosstaskOptions, None, crosstask.open_evaluation),
)
DATASETS: Mapping[str, DatasetRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""Every data set that can be trained or evaluated on, by name."""
