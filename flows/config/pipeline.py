"""`pipeline.yaml` as typed, strict values. The defaults here and those in the file are the same; a test says so."""

from __future__ import annotations

import difflib
import zoneinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError, WithJsonSchema, model_validator

from reeldex.errors import UsageError
from reeldex.extractors.options import Precision, WeightsChoice
from reeldex.extractors.registry import EXTRACTORS
from reeldex.flows.config.datasets import DatasetsConfig
from reeldex.flows.config.learning import EvaluateConfig, TrainConfig, WordsConfig
from reeldex.flows.config.search import IndexConfig, PageConfig
from reeldex.flows.config.section import Section
from reeldex.storage.schema import REASONS

if TYPE_CHECKING:
    from reeldex.extractors.decode import DecodeLimits

CONFIG_FILE_NAME = "pipeline.yaml"
# Names of the deployments that are always there.
RESERVED_NAMES = ("extract", "rerun-failed", "verify", "train", "evaluate", "index", "pipeline")


# A plain string, so that an unknown name gets the registry's own error; a choice of them in a form.
ExtractorName = Annotated[str, WithJsonSchema({"type": "string", "enum": list(EXTRACTORS)})]


def _known_reason(reason: str) -> str:
    if reason not in REASONS:
        raise ValueError(f"there is no reason {reason!r}; reasons are: {', '.join(REASONS)}")
    return reason


# What a flow's form asks for besides these sections.
NonEmpty = Annotated[str, Field(min_length=1)]
ReasonName = Annotated[str, AfterValidator(_known_reason), WithJsonSchema({"type": "string", "enum": list(REASONS)})]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class VideoIdRule(StrEnum):
    """How a file in a folder gets its id: its name without the ending, or its path within the folder."""

    STEM = "stem"
    PATH = "path"


class LimitsConfig(Section):
    """What one video may cost before it counts as failed."""

    timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        default=1800.0,
        title="Time limit (s)",
        description="Seconds of waiting for ffmpeg; time spent in the networks does not count.",
    )
    max_frame_pixels: Annotated[int, Field(ge=1)] = Field(
        default=67_108_864,
        title="Largest frame (pixels)",
        description="Width x height of a frame, as stored and as scaled.",
    )
    max_gap_seconds: Annotated[float, Field(gt=0, le=31_536_000)] = Field(
        default=600.0,
        title="Longest still picture (s)",
        description="Seconds that one picture may stand. Each second of it makes as many frames as any other second.",
    )
    ffmpeg_memory_bytes: Annotated[int, Field(ge=1 << 28)] = Field(
        default=4_294_967_296,
        title="Memory limit of ffmpeg (bytes)",
        description="Address space of one ffmpeg process: several times what it uses.",
    )

    def decoding(self) -> DecodeLimits:
        """Return the same limits as the decoder takes them."""
        from reeldex.extractors.decode import DecodeLimits

        return DecodeLimits(
            timeout_seconds=self.timeout_seconds,
            max_frame_pixels=self.max_frame_pixels,
            max_gap_seconds=self.max_gap_seconds,
            memory_bytes=self.ffmpeg_memory_bytes,
        )


class WeightsConfig(Section):
    """Where the published weights lie."""

    folder: Path | None = Field(
        default=None,
        title="Folder of downloaded weights",
        description="Empty is PyTorch's own, which TORCH_HOME moves.",
    )
    files: dict[str, Path] = Field(
        default_factory=dict,
        title="Local checkpoints",
        description="A file by the extractor's name, instead of the downloaded one.",
    )


class ExtractConfig(Section):
    """What is extracted: it defines the features and how they are filed."""

    extractors: Annotated[tuple[ExtractorName, ...], Field(min_length=1)] = Field(
        default=tuple(EXTRACTORS),
        title="Extractors",
        description="Networks to run on every video. All of them share one decoding.",
    )
    weights: WeightsChoice = Field(
        default=WeightsChoice.PRETRAINED,
        title="Weights",
        description="pretrained: the published ones. random: made-up ones for trials; such features mean nothing.",
    )
    shard_videos: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=64,
        title="Videos in a shard",
        description="What one task does, one file holds, and a lost task repeats.",
    )
    video_id: VideoIdRule = Field(
        default=VideoIdRule.STEM,
        title="Video id",
        description="Id of a file in a folder. stem: its name without ending; path: its path in the folder.",
    )
    settle_seconds: Seconds = Field(
        default=0.0,
        title="Settle time (s)",
        description="A file that was written to within so many seconds is left to the next run: it may still be "
        "being copied.",
    )


class ComputeConfig(Section):
    """How it is computed, on what, and what happens when that fails."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+(,cuda:\d+)*)$")] = Field(
        default="auto",
        title="Device",
        description="auto: every CUDA device, or the CPU if there is none. Or cpu, cuda (all), cuda:N, cuda:N,cuda:M.",
    )
    precision: Precision = Field(
        default=Precision.AUTO,
        title="Precision",
        description="auto: float32 on a CPU; half precision on CUDA where features stay within cosine 0.9999 of it.",
    )
    decoders: Annotated[int, Field(ge=1, le=256)] = Field(
        default=2,
        title="Decoders",
        description="Videos decoded at the same time on each device, ahead of the networks.",
    )
    batch_rows: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None, title="Clips a batch", description="Empty is 2 on a CPU and 64 on CUDA."
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig, title="Limits of a video")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        default=3,
        title="Retries",
        description="How often a shard is tried again after a fault of the machine: a worker process that died, no "
        "memory, a lost device. A broken video is not tried again.",
    )
    retry_delay_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=10.0,
        title="Retry delay (s)",
        description="Wait before the first such retry; each later one waits twice as long.",
    )


class WhenBusy(StrEnum):
    """What a run does that finds its store in use by another: wait for it, leave its work to a later run, or fail."""

    WAIT = "wait"
    SKIP = "skip"
    FAIL = "fail"


class ScheduleConfig(Section):
    """Extraction of a folder again and again: a deployment of its own."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}$")] = Field(
        description="Name of the deployment."
    )
    source: Path = Field(description="Folder of videos, or list.")
    store: Path = Field(description="Folder of the feature store.")
    cron: str | None = Field(default=None, description="When, as five cron fields.")
    interval_seconds: Annotated[float, Field(ge=10)] | None = Field(default=None, description="Or: how often.")
    timezone: str | None = Field(
        default=None, description="Time zone of the cron fields, such as Europe/Paris; null is UTC."
    )
    when_busy: WhenBusy = Field(
        default=WhenBusy.WAIT, description="While an earlier run still goes on, or the store is in use: wait or skip."
    )
    settle_seconds: Seconds = Field(
        default=60.0, description="Files written to within so many seconds wait for the next run."
    )
    active: bool = Field(default=True, description="false: made, but paused.")

    @model_validator(mode="after")
    def _one_rhythm(self) -> ScheduleConfig:
        if (self.cron is None) == (self.interval_seconds is None):
            raise ValueError(f"the schedule {self.name!r} needs either cron or interval_seconds")
        if self.timezone is not None and self.cron is None:
            raise ValueError(f"the schedule {self.name!r}: a timezone goes with cron")
        if self.timezone is not None and self.timezone not in zoneinfo.available_timezones():
            raise ValueError(f"the schedule {self.name!r}: there is no time zone {self.timezone!r}")
        if self.name in RESERVED_NAMES:
            raise ValueError(f"a schedule cannot be called {self.name!r}: a deployment of reeldex has that name")
        return self


class PipelineConfig(Section):
    """The whole of `pipeline.yaml`."""

    version: Literal[1] = 1
    extract: ExtractConfig = Field(default_factory=ExtractConfig)
    compute: ComputeConfig = Field(default_factory=ComputeConfig)
    weights: WeightsConfig = Field(default_factory=WeightsConfig)
    datasets: DatasetsConfig = Field(default_factory=DatasetsConfig)
    words: WordsConfig = Field(default_factory=WordsConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    index: IndexConfig = Field(default_factory=IndexConfig)
    page: PageConfig = Field(default_factory=PageConfig)
    schedules: tuple[ScheduleConfig, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> PipelineConfig:
        names = [schedule.name for schedule in self.schedules]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two schedules are called {', '.join(sorted(repeated))}")
        return self

    def with_store(self, dataset: str, store: str) -> PipelineConfig:
        """Return this configuration with a data set's features in a store; as it is if `store` is empty."""
        return self.model_copy(update={"datasets": self.datasets.with_store(dataset, store)}) if store else self


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
        faults = "; ".join(_describe(fault) for fault in error.errors())
        raise UsageError(f"{origin}: {faults}") from error


def _describe(fault: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails, a plain dict
    location = [str(part) for part in fault["loc"]]
    dotted = ".".join(location)
    if fault["type"] != "extra_forbidden":
        return f"{dotted}: {fault['msg']} (got {fault['input']!r})"
    near = difflib.get_close_matches(dotted, _dotted_keys(PipelineConfig), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(_dotted_keys(PipelineConfig))}"
    return f"{dotted}: unknown key; {hint}"


def _dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        # A section that may be absent is a union with None.
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not ScheduleConfig:
                keys += _dotted_keys(kind, f"{prefix}{name}.")
    return keys
