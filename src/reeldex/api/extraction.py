"""Extract features of videos in this process, without a store and without Prefect."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from pydantic import ValidationError

from reeldex.errors import UsageError, UserError
from reeldex.extractors.engine import extract as run_engine
from reeldex.extractors.frames import ExtractionFailure, VideoFeatures, VideoSource
from reeldex.extractors.options import EngineOptions, NetworkOptions, WeightsChoice
from reeldex.extractors.registry import HOWTO100M_EXTRACTORS, extractor, extractor_names
from reeldex.flows.extraction.engine_results import outcome_of
from reeldex.options import fault_message
from reeldex.remote_urls import is_url, redacted
from reeldex.storage.schema import FeatureRows

if TYPE_CHECKING:
    from reeldex.extractors.network import Network

VideoPath = str | os.PathLike[str]


class VideoError(UserError):
    """A video has no features; `video` is its outcome. The message gives the reason and the remedy."""

    def __init__(self, video: ExtractedVideo) -> None:
        super().__init__(f"{video.path}: {video.reason}: {video.message}")
        self.video = video


@dataclass(frozen=True, eq=False)
class ExtractedVideo:
    """The outcome of one video and its features by extractor.

    - `status`: `ok`, or `failed` and then `features` is empty.
    - `reason`: None, `truncated` for a video with features up to where its picture ends, else why it failed:
      the same closed list as in a store. `message` explains the reason.
    - `features`: rows and times by extractor name; `features[name].rows` is (R, D) float16, each row
      L2-normalised, and `features[name].row_seconds` (R,) float64 the time at which each row begins.
    """

    path: Path
    status: Literal["ok", "failed"]
    reason: str | None
    message: str
    duration_seconds: float | None
    features: Mapping[str, FeatureRows]

    def __getitem__(self, extractor: str) -> FeatureRows:
        """Return the rows of one extractor. Raises KeyError, and VideoError for a video that failed."""
        if self.status == "failed":
            raise VideoError(self)
        return self.features[extractor]

    def __repr__(self) -> str:
        if self.status == "failed":
            return f"ExtractedVideo({str(self.path)!r}, failed: {self.reason})"
        shapes = ", ".join(f"{name} {rows.rows.shape}" for name, rows in self.features.items())
        note = f", {self.reason}" if self.reason else ""
        return f"ExtractedVideo({str(self.path)!r}, {self.duration_seconds:.1f} s, {shapes}{note})"


@overload
def extract(  # type: ignore[overload-overlap]  # a string is an iterable of strings too
    videos: VideoPath,
    extractors: Sequence[str] = ...,
    *,
    weights: Literal["pretrained", "random"] = ...,
    device: str = ...,
    precision: str = ...,
    decoders: int | None = ...,
) -> ExtractedVideo: ...


@overload
def extract(
    videos: Iterable[VideoPath],
    extractors: Sequence[str] = ...,
    *,
    weights: Literal["pretrained", "random"] = ...,
    device: str = ...,
    precision: str = ...,
    decoders: int | None = ...,
) -> list[ExtractedVideo]: ...


def extract(  # noqa: PLR0913 - each is an option of the caller
    videos: VideoPath | Iterable[VideoPath],
    extractors: Sequence[str] = HOWTO100M_EXTRACTORS,
    *,
    weights: Literal["pretrained", "random"] = "pretrained",
    device: str = "auto",
    precision: str = "auto",
    decoders: int | None = None,
) -> ExtractedVideo | list[ExtractedVideo]:
    """Extract features of one video, or of several that share batches.

    For one path, return its ExtractedVideo and raise VideoError if it cannot be extracted. For several paths, return
    one ExtractedVideo for each, in their order; a broken one has the status `failed`. The rows equal those that a store
    would contain.

    - `extractors`: `resnet152` (2-D, one row per second), `resnext101_3d` (3-D, 1.5 rows per second), or those that
      other installed packages register.
    - `weights`: `pretrained` downloads the published weights once; `random` are untrained weights, for testing.
    - `device`: `auto`, `cpu`, `cuda` or `cuda:N`; `precision`: `auto`, `fp32`, or on CUDA `tf32`, `fp16`, `bf16`.
    - `decoders`: videos decoded at the same time; None: 2 on a CPU, one per core on CUDA.

    Loaded networks stay in memory for the next call. Raises UsageError for bad arguments, WeightsError and DeviceError.
    """
    names = (extractors,) if isinstance(extractors, str) else tuple(extractors)
    single = isinstance(videos, str | os.PathLike)
    given = [videos] if isinstance(videos, str | os.PathLike) else list(videos)
    if address := next((each for each in given if isinstance(each, str) and is_url(each)), None):
        raise UsageError(
            f"{redacted(address)} is at a URL. Download it and pass its path, or extract it into a store with "
            "`reeldex extract`."
        )
    paths = [Path(each) for each in given]
    try:
        networks = _networks(names, NetworkOptions(weights=weights, device=device, precision=precision))  # type: ignore[arg-type]
        options = EngineOptions(decoders=decoders)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UsageError(f"Invalid options: {_faults(error)}.") from error
    # The engine requires unique ids; two paths may be equal.
    sources = [VideoSource(str(number), str(path)) for number, path in enumerate(paths)]
    results = {result.source.video_id: result for result in run_engine(sources, networks, options)} if sources else {}
    extracted = [_extracted(results[source.video_id]) for source in sources]
    if not single:
        return extracted
    if extracted[0].status == "failed":
        raise VideoError(extracted[0])
    return extracted[0]


def _faults(error: ValueError) -> str:
    """Return what is wrong with options in one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    faults = ((".".join(map(str, each["loc"])), fault_message(each), each["input"]) for each in error.errors())
    return "; ".join(f"{name}: {message} (got {given!r})" for name, message, given in faults)


def _networks(names: tuple[str, ...], options: NetworkOptions) -> list[Network]:
    if not names or len(set(names)) < len(names):
        raise UsageError(f"Give one or more extractors, each once: {', '.join(extractor_names())}; not {list(names)}.")
    from reeldex.extractors.network import cached_network
    from reeldex.flows.progress.downloads import find_or_fetch_shown

    if options.weights is WeightsChoice.PRETRAINED:
        for name in names:
            find_or_fetch_shown(extractor(name).pretrained, options.weights_file, options.weights_folder)
    return [cached_network(name, options) for name in names]


def _extracted(result: VideoFeatures | ExtractionFailure) -> ExtractedVideo:
    outcome = outcome_of(result)
    features = {}
    if isinstance(result, VideoFeatures):
        features = {
            name: FeatureRows(
                rows=rows,
                start_seconds=result.first_row_seconds[name],
                seconds_per_row=result.seconds_per_row[name],
                duration_seconds=outcome.duration_seconds,
                truncated=outcome.truncated,
                source=outcome.path,
                colour=result.summary.metadata.colour.stated(),
                damaged_rows=result.summary.damaged_rows[name],
            )
            for name, rows in result.rows.items()
        }
    return ExtractedVideo(
        Path(outcome.path), outcome.status, outcome.reason, outcome.message, outcome.duration_seconds, features
    )
