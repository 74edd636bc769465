"""`pipeline.yaml` as typed, strict values, composed of the packages' options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, ValidationError, WithJsonSchema, model_validator

from reeldex.errors import UsageError
from reeldex.extractors.options import DecodeOptions
from reeldex.flows.config.datasets import DatasetsConfig, Spaces
from reeldex.flows.config.execution import ExecutionConfig
from reeldex.flows.config.extraction import (
    ComputeConfig,
    ExtractConfig,
    ScheduleConfig,
    VideoIdRule,
    WeightsConfig,
    WhenBusy,
)
from reeldex.flows.config.fetching import FetchConfig
from reeldex.flows.config.keys import dotted_keys, nearest
from reeldex.flows.config.learning import EvaluateConfig, TrainConfig, WordsConfig
from reeldex.flows.config.monitoring import MonitoringConfig
from reeldex.flows.config.notify import NotifyConfig
from reeldex.flows.config.search import IndexConfig, PageConfig
from reeldex.flows.config.server import ServerConfig
from reeldex.options import Options, Seconds, fault_message
from reeldex.storage.reasons import REASONS

__all__ = [
    "CONFIG_FILE_NAME",
    "ComputeConfig",
    "DecodeOptions",
    "ExecutionConfig",
    "ExtractConfig",
    "FetchConfig",
    "NonEmpty",
    "PipelineConfig",
    "ReasonName",
    "ScheduleConfig",
    "Seconds",
    "ShardNumber",
    "VideoIdRule",
    "WeightsConfig",
    "WhenBusy",
    "faults_in_words",
    "load_config",
    "parse_config",
]

CONFIG_FILE_NAME = "pipeline.yaml"


def _known_reason(reason: str) -> str:
    if reason not in REASONS:
        raise ValueError(f"there is no reason {reason!r}; reasons are: {', '.join(REASONS)}")
    return reason


# Fields of a flow's form besides the sections.
NonEmpty = Annotated[str, Field(min_length=1)]
ShardNumber = Annotated[int, Field(ge=0)]
ReasonName = Annotated[str, AfterValidator(_known_reason), WithJsonSchema({"type": "string", "enum": list(REASONS)})]


class PipelineConfig(Options):
    """The configuration of reeldex.

    `reeldex` reads the pipeline.yaml of the folder it is started in, or the one named by --config; options on the
    command line take precedence. Every value below is the default: leave out what you do not want to change. An
    unknown key is an error.
    """

    version: Annotated[Literal[1], Field(description="Version of this format.")] = 1
    extract: ExtractConfig = ExtractConfig()
    decode: DecodeOptions = DecodeOptions()
    compute: ComputeConfig = ComputeConfig()
    fetch: FetchConfig = FetchConfig()
    execution: ExecutionConfig = ExecutionConfig()
    weights: WeightsConfig = WeightsConfig()
    datasets: DatasetsConfig = DatasetsConfig()
    words: WordsConfig = WordsConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    index: IndexConfig = IndexConfig()
    page: PageConfig = PageConfig()
    notify: NotifyConfig = NotifyConfig()
    monitoring: MonitoringConfig = MonitoringConfig()
    server: ServerConfig = ServerConfig()
    schedules: Annotated[
        tuple[ScheduleConfig, ...],
        Field(
            description="""\
Folders that `reeldex up` extracts on a schedule. Each becomes a deployment with a schedule, which can be paused and
edited in the Prefect UI. An edit made there stays until the schedule is changed here.
  schedules:
    - name: kitchen every night
      source: /data/kitchen
      store: /data/features
      cron: "0 2 * * *"          # or interval_seconds: 3600
      timezone: Europe/Paris     # of the cron fields; UTC without it
      when_busy: wait            # or skip or share, while an earlier run goes on or the store is in use
      settle_seconds: 60         # files modified within so many seconds wait for the next run"""
        ),
    ] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [schedule.name for schedule in self.schedules]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two schedules are called {', '.join(sorted(repeated))}")
        return self

    def with_store(self, dataset: str, store: str, spaces: Spaces = (None, None)) -> PipelineConfig:
        """Return this configuration with a data set's features in a store; unchanged if `store` is empty.

        `spaces` are the 2-D and the 3-D space where none is set.
        """
        return self.model_copy(update={"datasets": self.datasets.with_store(dataset, store, spaces)}) if store else self

    def with_data_folder(self, dataset: str, folder: str) -> PipelineConfig:
        """Return this configuration with the folder of a data set's files; unchanged if `folder` is empty."""
        return self.model_copy(update={"datasets": self.datasets.with_folder(dataset, folder)}) if folder else self


def load_config(path: Path | None) -> PipelineConfig:
    """Return the configuration in `path`; without one, that of `pipeline.yaml` here, or else the defaults.

    Raises UsageError naming the dotted path of what is wrong and, for an unknown key, the nearest valid one.
    """
    if path is None:
        here = Path(CONFIG_FILE_NAME)
        if not here.is_file():
            return PipelineConfig()
        path = here
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"The configuration {path} is not valid YAML: {error}") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise UsageError(f"The configuration {path} must be a mapping of sections, such as 'extract:'.")
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], origin: str) -> PipelineConfig:
    """Return the configuration in `content`, checked; `origin` names it in the message of a UsageError."""
    try:
        return PipelineConfig.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{origin}: {faults_in_words(error)}") from error


def faults_in_words(error: ValidationError) -> str:
    """Return what is wrong with a configuration: each dotted path with the fault, and the nearest valid key."""
    return "; ".join(_describe(fault) for fault in error.errors())


def _describe(fault: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails, a plain dict
    dotted = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        if dotted.partition(".")[0] == "notify":
            return f"{dotted}: {fault_message(fault)}"  # what was given may be a secret
        return f"{dotted}: {fault_message(fault)} (got {fault['input']!r})"
    keys = dotted_keys(PipelineConfig)
    return f"{dotted}: unknown key; {nearest(dotted, keys) or 'valid keys: ' + ', '.join(keys)}"
