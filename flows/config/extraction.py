"""The sections `extract`, `compute`, `weights` and `schedules` of `pipeline.yaml`."""

from __future__ import annotations

import zoneinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from reeldex.extractors.options import DecodeLimits, DecoderOptions, DeviceOptions, WeightsOptions
from reeldex.extractors.registry import HOWTO100M_EXTRACTORS, extractor_names
from reeldex.options import Options, Seconds
from reeldex.remote_urls import is_url
from reeldex.storage.location import StorePath

RESERVED_NAMES = ("extract", "rerun-failed", "verify", "train", "evaluate", "index", "pipeline")
"""Names of the deployments that always exist."""


class _ExtractorNames:
    """Lets a form offer the names of all extractors as choices, those of other installed packages too."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": list(extractor_names())}


# A plain string, so that an unknown name gets the registry's error.
ExtractorName = Annotated[str, _ExtractorNames()]


class VideoIdRule(StrEnum):
    """How a file gets its id: its name without the suffix, its path, or the path where names are equal."""

    AUTO = "auto"
    STEM = "stem"
    PATH = "path"


class WhenBusy(StrEnum):
    """What a run does when another run uses its store: wait, skip the run, fail, or share the work with it."""

    WAIT = "wait"
    SKIP = "skip"
    FAIL = "fail"
    SHARE = "share"


class ExtractConfig(WeightsOptions):
    """What is extracted: the features, and how they are stored."""

    extractors: Annotated[
        tuple[ExtractorName, ...],
        Field(
            min_length=1,
            title="Extractors",
            description="Networks to run on every video. Each video is decoded once for all of them.",
        ),
    ] = HOWTO100M_EXTRACTORS
    shard_videos: Annotated[
        int,
        Field(
            ge=1,
            le=100_000,
            title="Videos per shard",
            description="A shard is one task of a run, one HDF5 file per network, and the unit of retries.",
        ),
    ] = 64
    video_id: Annotated[
        VideoIdRule,
        Field(
            title="Video id",
            description="Id of a file. stem: its name without the suffix (`P01/cut.mp4` is `cut`); of two files with "
            "the same name the second is an error. path: its path within the folder (`P01/cut.mp4`). auto: the name, "
            "and the path for files with equal names; a file that the store knows keeps its id. In a store of an older "
            "release, auto means stem.",
        ),
    ] = VideoIdRule.AUTO
    include: Annotated[
        tuple[str, ...],
        Field(
            title="Include only",
            description="Patterns of the files to extract; empty: all videos. A pattern without a slash is compared "
            "with names of files and folders (`*.mp4`, `P01`), one with a slash with the path in the source "
            "(`P*/raw/**`). An ending that a pattern spells out is searched even if it is not that of a video.",
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Field(title="Exclude", description="Patterns of files and folders to leave out, as for `include`."),
    ] = ()
    settle_seconds: Annotated[
        Seconds,
        Field(
            title="Minimum file age (s)",
            description="Files modified within this many seconds are left to the next run: they may still be being "
            "copied.",
        ),
    ] = 0.0
    new_store: Annotated[
        bool,
        Field(
            title="New store",
            description="Create the store even if there was one before, which is gone: without this, its disk is "
            "assumed not to be mounted.",
        ),
    ] = False


class ComputeConfig(DecoderOptions, DeviceOptions):
    """How features are computed, on which device, and how failures are retried."""

    limits: Annotated[DecodeLimits, Field(title="Limits of a video")] = DecodeLimits()
    retries: Annotated[
        int,
        Field(
            ge=0,
            le=20,
            title="Retries",
            description="Retries of a shard after an infrastructure error (a dead worker process, out of "
            "memory, a lost device). Broken videos are not retried automatically.",
        ),
    ] = 3
    retry_delay_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            title="Retry delay (s)",
            description="Delay before the first retry; it doubles with each further retry.",
        ),
    ] = 10.0
    lease_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=86_400,
            title="Lease (s)",
            description="A shard whose worker shows no sign of life for this long is taken over by another run that "
            "works on the same store. The end of a worker on the same machine is noticed at once.",
        ),
    ] = 60.0


class WeightsConfig(Options):
    """Where the weights of the networks are stored."""

    folder: Annotated[
        Path | None,
        Field(
            title="Folder of downloaded weights",
            description="null: PyTorch's folder, ~/.cache/torch/hub/checkpoints or below TORCH_HOME.",
        ),
    ] = None
    files: Annotated[
        dict[str, Path],
        Field(
            title="Local checkpoints",
            description="Local checkpoints instead of the downloaded ones, by the extractor's name: "
            "{resnext101_3d: /data/resnext101.pth}.",
        ),
    ] = Field(default_factory=dict)


class ScheduleConfig(Options):
    """Extraction of a folder on a schedule, as a separate deployment."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}$", description="Name of the deployment.")]
    source: Annotated[str, Field(min_length=1, description="Folder of videos, or list; or its URL.")]
    store: Annotated[StorePath, Field(description="Folder of the feature store, or its URL.")]
    cron: Annotated[str | None, Field(description="Five cron fields.")] = None
    interval_seconds: Annotated[
        Annotated[float, Field(ge=10)] | None, Field(description="Instead of cron: seconds between runs.")
    ] = None
    timezone: Annotated[
        str | None, Field(description="Time zone of the cron fields, such as Europe/Paris; null is UTC.")
    ] = None
    when_busy: Annotated[
        WhenBusy, Field(description="While an earlier run is active, or the store is in use: wait, skip or share.")
    ] = WhenBusy.WAIT
    settle_seconds: Annotated[
        Seconds, Field(description="Files modified within this many seconds are left to the next run.")
    ] = 60.0
    active: Annotated[bool, Field(description="false: created, but paused.")] = True

    @property
    def located_source(self) -> str:
        """The source as every process finds it: its absolute path, or its URL."""
        return self.source if is_url(self.source) else str(Path(self.source).absolute())

    @model_validator(mode="after")
    def _either_cron_or_interval(self) -> Self:
        if (self.cron is None) == (self.interval_seconds is None):
            raise ValueError(f"the schedule {self.name!r} needs either cron or interval_seconds")
        if self.timezone is not None and self.cron is None:
            raise ValueError(f"the schedule {self.name!r}: a timezone goes with cron")
        if self.timezone is not None and self.timezone not in zoneinfo.available_timezones():
            raise ValueError(f"the schedule {self.name!r}: there is no time zone {self.timezone!r}")
        if self.name in RESERVED_NAMES:
            raise ValueError(f"a schedule cannot be called {self.name!r}: a deployment of reeldex has that name")
        return self
