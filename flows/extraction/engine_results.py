"""The engine's results as the store records them: outcomes, rows of features, and their provenance."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reeldex.extractors.frames import DecodeSummary, ExtractionFailure, VideoFeatures
from reeldex.extractors.truncation import tolerance_seconds
from reeldex.flows.extraction.file_names import printable
from reeldex.quantities import counted
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoOutcome

if TYPE_CHECKING:
    from reeldex.extractors.runtimes.network import Network


def outcome_of(result: VideoFeatures | ExtractionFailure) -> VideoOutcome:
    """Return the outcome to record for a result of the engine."""
    video_id, path = result.source.video_id, result.source.path
    if isinstance(result, ExtractionFailure):
        message = printable(result.message)
        return VideoOutcome(video_id, path, "failed", str(result.reason), message, attempts=1)
    summary = result.summary
    sentences = [printable(sentence) for sentence in summary.notes.values()]
    if summary.truncated and result.source.end_seconds is not None:
        sentences.append(
            f"The clip should end at {result.source.end_seconds:g} s, but the picture ends at "
            f"{_picture_end_seconds(summary):.1f} s. Features up to there are kept; correct the list, or "
            "replace the file if it should be longer."
        )
    elif summary.truncated:
        sentences.append(
            f"The container's duration is {summary.metadata.end_seconds:.1f} s, but the video stream ends after "
            f"{_picture_end_seconds(summary):.1f} s: the file is truncated, or its audio is longer than its video. "
            "Features up to there are kept; replace the file if it should be longer."
        )
    if summary.error_count:
        sentences.append(
            f"The decoder reported {counted(summary.error_count, 'error')}, first: "
            f"{printable(summary.first_error).rstrip('.')}. "
            "Features are kept; some frames may be damaged."
        )
    return VideoOutcome(
        video_id,
        path,
        "ok",
        "truncated" if summary.truncated else None,
        " ".join(sentences),
        attempts=1,
        truncated=summary.truncated,
        decode_error_count=summary.error_count,
        duration_seconds=_duration_seconds(result),
        notes=tuple(str(kind) for kind in summary.notes),
    )


def _picture_end_seconds(summary: DecodeSummary) -> float:
    return summary.decoded_seconds if summary.picture_end_seconds is None else summary.picture_end_seconds


def _duration_seconds(features: VideoFeatures) -> float:
    """Return the length of the video: the container's, unless the picture is known to be shorter or longer."""
    decoded = features.summary.decoded_seconds
    stated = None if features.source.is_clip else features.summary.metadata.duration_seconds
    if stated is None or features.summary.truncated:
        return decoded
    return stated if abs(stated - decoded) <= tolerance_seconds(stated) else decoded


def rows_of(
    result: VideoFeatures | ExtractionFailure, spaces: Mapping[str, FeatureSpace]
) -> dict[FeatureSpace, FeatureRows]:
    """Return the rows to record for a result, by feature space; `spaces` by the extractors' names."""
    if isinstance(result, ExtractionFailure):
        return {}
    return {
        spaces[name]: FeatureRows(
            rows=rows,
            start_seconds=result.first_row_seconds[name],
            seconds_per_row=result.seconds_per_row[name],
            duration_seconds=_duration_seconds(result),
            truncated=result.summary.truncated,
            source=result.source.path,
            colour=result.summary.metadata.colour.stated(),
            damaged_rows=result.summary.damaged_rows[name],
        )
        for name, rows in result.rows.items()
    }


def provenance(network: Network) -> dict[str, Any]:
    """Return the provenance of features, which does not define them: versions, device, host."""
    device = _device_name(network.device)
    return {**_versions(), "device": device, "runtime": network.runtime, "host": socket.gethostname()}


@functools.cache
def _versions() -> dict[str, str]:
    from reeldex.extractors import ffmpeg

    packages = ("reeldex", "torch", "numpy", "h5py")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {**versions, "ffmpeg": ffmpeg.version(), "python": platform.python_version()}


@functools.cache
def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return f"cpu ({platform.machine()})"
    import torch

    return torch.cuda.get_device_name(device)
