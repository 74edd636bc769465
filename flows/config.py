"""`pipeline.yaml` as typed, strict values. The defaults here and those in the file are the same; a test says so."""

from __future__ import annotations

import difflib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extractors.options import Precision, WeightsChoice

CONFIG_FILE_NAME = "pipeline.yaml"


class UsageError(Exception):
    """The command, the configuration or the input cannot be used as given. The message says what to change."""


class VideoIdRule(StrEnum):
    """How a file in a folder gets its id: its name without the ending, or its path within the folder."""

    STEM = "stem"
    PATH = "path"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitsConfig(_Section):
    """What one video may cost before it counts as failed."""

    timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        default=1800.0,
        description="Seconds of waiting for ffmpeg; time spent in the networks does not count.",
    )
    max_frame_pixels: Annotated[int, Field(ge=1)] = Field(
        default=67_108_864, description="Width x height of a frame, as stored and as scaled."
    )


class WeightsConfig(_Section):
    """Where the published weights lie."""

    folder: Path | None = Field(default=None, description="Cache folder; null is PyTorch's own (TORCH_HOME moves it).")
    files: dict[str, Path] = Field(
        default_factory=dict, description="A local checkpoint for an extractor, by the extractor's name."
    )


class ExtractConfig(_Section):
    """How features are extracted."""

    extractors: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default=("resnet152", "resnext101_3d"), description="Networks to run on every video."
    )
    weights: WeightsChoice = Field(default=WeightsChoice.PRETRAINED, description="pretrained, or random for trials.")
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = Field(
        default="auto", description="auto, cpu, cuda or cuda:N."
    )
    precision: Precision = Field(default=Precision.AUTO, description="auto, fp32, fp16 or bf16.")
    shard_videos: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=64, description="Videos in a shard: what one task does, and what a failure repeats."
    )
    decoders: Annotated[int, Field(ge=1, le=256)] = Field(
        default=2, description="Videos decoded at the same time, ahead of the networks."
    )
    batch_rows: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None, description="Clips a batch; null is 2 on a CPU and 64 on CUDA."
    )
    video_id: VideoIdRule = Field(
        default=VideoIdRule.STEM,
        description="stem: the file's name without ending; path: its path in the folder.",
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig)


class PipelineConfig(_Section):
    """The whole of `pipeline.yaml`."""

    version: Literal[1] = 1
    extract: ExtractConfig = Field(default_factory=ExtractConfig)
    weights: WeightsConfig = Field(default_factory=WeightsConfig)


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
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _dotted_keys(field.annotation, f"{prefix}{name}.")
    return keys
