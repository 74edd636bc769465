"""The data sets by name, and how each one's splits are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
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
from reeldex.embedding.datasets.crosstask_options import CrosstaskOptions
from reeldex.embedding.datasets.epic_options import EpicLabelOptions, EpicRetrievalOptions
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.datasets.localization import EvaluatedSet
from reeldex.embedding.datasets.options import CaptionsOptions, LsmdcOptions, MsrvttOptions, Youcook2Options
from reeldex.embedding.datasets.records import TrainingSet
from reeldex.embedding.datasets.subsets import selected, selected_count
from reeldex.embedding.errors import DatasetError


@dataclass(frozen=True)
class DatasetRecord:
    """A data set: `options` is the frozen model that both functions take.

    `read_training` opens all samples of the training split, None where there is none; `annotated_videos` yields the
    video of each of them by the annotations alone. `open_evaluation` is None where nothing is evaluated;
    `require_test_files` raises DatasetError if a file of it is missing. Neither opens features.
    """

    name: str
    options: type
    read_training: Callable[[Any], TrainingSet] | None
    annotated_videos: Callable[[Any], Iterator[str] | None] | None
    open_evaluation: Callable[[Any], EvaluatedSet] | None
    require_test_files: Callable[[Any], None] | None

    def open_training(self, options: Any) -> TrainingSet:  # noqa: ANN401 - each data set has its own options
        """Open the training split, without excluded videos and those beyond `train_share`.

        Raises DatasetError when the data set has none.
        """
        if self.read_training is None:
            raise self._no_training()
        return selected(self.read_training(options), options)

    def sample_limit(self, options: Any, validation_share: float, enough: int) -> int | None:  # noqa: ANN401
        """Return how many training samples there are at most, by the annotations; None if only features tell.

        Counting may stop at `enough`. Raises DatasetError when a file is missing, or no sample would be left.
        """
        if self.annotated_videos is None:
            raise self._no_training()
        videos = self.annotated_videos(options)
        if videos is None:
            return None
        if options.exclude is None and options.train_share == 1 and not validation_share:
            return sum(1 for _ in islice(videos, enough))
        return selected_count(self.name, list(videos), options, validation_share)

    def open_test_set(self, options: Any) -> EvaluatedSet:  # noqa: ANN401
        """Open the test set. Raises DatasetError when the data set has none."""
        if self.open_evaluation is None:
            raise self._no_test_set()
        return self.open_evaluation(options)

    def require_test_set(self, options: Any) -> None:  # noqa: ANN401
        """Raise DatasetError when the data set has no test set, or a file of it is missing."""
        if self.require_test_files is None:
            raise self._no_test_set()
        self.require_test_files(options)

    def _no_test_set(self) -> DatasetError:
        return DatasetError(f"{self.name} has no test set. Evaluate on another data set.")

    def _no_training(self) -> DatasetError:
        return DatasetError(f"{self.name} has no training split. Train on another data set.")


_RECORDS = (
    DatasetRecord(
        howto100m.NAME,
        Howto100mOptions,
        read_training=howto100m.open_training,
        annotated_videos=howto100m.annotated_videos,
        open_evaluation=None,
        require_test_files=None,
    ),
    DatasetRecord(
        msrvtt.NAME,
        MsrvttOptions,
        read_training=msrvtt.open_training,
        annotated_videos=msrvtt.annotated_videos,
        open_evaluation=msrvtt.open_evaluation,
        require_test_files=msrvtt.require_test_files,
    ),
    DatasetRecord(
        youcook2.NAME,
        Youcook2Options,
        read_training=youcook2.open_training,
        annotated_videos=youcook2.annotated_videos,
        open_evaluation=youcook2.open_evaluation,
        require_test_files=youcook2.require_test_files,
    ),
    DatasetRecord(
        lsmdc.NAME,
        LsmdcOptions,
        read_training=lsmdc.open_training,
        annotated_videos=lsmdc.annotated_videos,
        open_evaluation=lsmdc.open_evaluation,
        require_test_files=lsmdc.require_test_files,
    ),
    DatasetRecord(
        epic_labels.NAME,
        EpicLabelOptions,
        read_training=epic_labels.open_training,
        annotated_videos=epic_labels.annotated_videos,
        open_evaluation=epic_labels.open_evaluation,
        require_test_files=epic_labels.require_test_files,
    ),
    DatasetRecord(
        epic_retrieval.NAME,
        EpicRetrievalOptions,
        read_training=epic_retrieval.open_training,
        annotated_videos=epic_retrieval.annotated_videos,
        open_evaluation=epic_retrieval.open_evaluation,
        require_test_files=epic_retrieval.require_test_files,
    ),
    DatasetRecord(
        captions.NAME,
        CaptionsOptions,
        read_training=captions.open_training,
        annotated_videos=captions.annotated_videos,
        open_evaluation=captions.open_evaluation,
        require_test_files=captions.require_test_files,
    ),
    DatasetRecord(
        crosstask.NAME,
        CrosstaskOptions,
        read_training=None,
        annotated_videos=None,
        open_evaluation=crosstask.open_evaluation,
        require_test_files=crosstask.require_test_files,
    ),
)
DATASETS: Mapping[str, DatasetRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""Every data set that can be trained or evaluated on, by name."""
