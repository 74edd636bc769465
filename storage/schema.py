"""The value types of a store: feature spaces, videos, rows, outcomes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from reeldex.storage.json_codec import AnyObject, Flag, Integer, Number, Text
from reeldex.storage.reasons import REASONS as REASONS  # noqa: PLC0414 - explicit re-export

FORMAT = "reeldex-features"
FORMAT_VERSION = 1

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

if TYPE_CHECKING:
    JSONObject: TypeAlias = Mapping[str, JSON]
else:
    # What `JSON` names is known here only, and the codec looks names up where a dataclass is defined.
    JSONObject = Annotated[Mapping[str, Any], AnyObject]

_NOTE = re.compile(r"[a-z0-9_]+")
COLOUR_PROPERTIES = ("range", "matrix", "primaries", "transfer")
"""The keys of `FeatureRows.colour`."""

_SPACE_NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
_LONGEST_COMPONENT_BYTES = 255
# Most ids: checking a million of them by what is wrong with each would take seconds.
_PLAIN_ID = re.compile(r"(?!\.{1,2}(?:/|$))[ -.0-~]{1,255}(?:/(?!\.{1,2}(?:/|$))[ -.0-~]{1,255})*")


@lru_cache(maxsize=256)
def check_space_name(name: str) -> None:
    """Raise ValueError unless `name` is `<network>.<tag>` in lower-case letters, digits and underscores."""
    if not _SPACE_NAME.fullmatch(name):
        raise ValueError(
            f"A feature space is named <network>.<tag>, each of lower-case letters, digits and underscores, "
            f"such as resnet152.imagenet1k_v1; got {name!r}."
        )


def check_video_id(video_id: str) -> None:
    """Raise ValueError unless the id is valid both as a dataset name below /features and as a relative file path."""
    if _PLAIN_ID.fullmatch(video_id):
        return
    problem = None
    if not video_id:
        problem = "it is empty"
    elif "\0" in video_id:
        problem = "it contains a NUL character"
    elif any(part in {"", ".", ".."} for part in video_id.split("/")):
        problem = 'it begins or ends with "/", or has an empty, "." or ".." component'
    else:
        try:
            parts = video_id.encode("utf-8").split(b"/")
        except UnicodeEncodeError:
            problem = "it cannot be written as UTF-8"
        else:
            if max(map(len, parts)) > _LONGEST_COMPONENT_BYTES:
                problem = f"a component is longer than {_LONGEST_COMPONENT_BYTES} bytes, too long for a file name"
    if problem:
        raise ValueError(f"The video id {video_id!r:.300} cannot be used: {problem}. Give this video another id.")


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """A feature space: its name, and the settings that define its features.

    `fingerprint` holds these settings (weights, sampling, preprocessing, normalisation, precision)
    as JSON values. Two are equal if their names and fingerprints are. Raises ValueError for a bad name or a fingerprint
    that is not JSON.
    """

    name: str
    fingerprint: Mapping[str, JSON]

    def __post_init__(self) -> None:
        check_space_name(self.name)
        if not all(isinstance(key, str) for key in self.fingerprint):
            raise ValueError(
                f"The fingerprint of {self.name} has keys that are not strings: {self.fingerprint!r:.300}."
            )
        try:
            copied = json.loads(json.dumps(dict(self.fingerprint), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"The fingerprint of {self.name} cannot be written as JSON: {error}.") from error
        object.__setattr__(self, "fingerprint", copied)

    def fingerprint_json(self) -> str:
        """Return the fingerprint as canonical JSON: sorted keys, no spaces."""
        return json.dumps(self.fingerprint, sort_keys=True, separators=(",", ":"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureSpace):
            return NotImplemented
        return self.name == other.name and self.fingerprint_json() == other.fingerprint_json()

    def __hash__(self) -> int:
        return hash((self.name, self.fingerprint_json()))


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a file that is a video of its own, in seconds of the file; `end_seconds` is None for the file's end.

    Raises ValueError unless 0 <= start < end, both finite.
    """

    start_seconds: Number
    end_seconds: Number | None

    def __post_init__(self) -> None:
        end = self.end_seconds
        if not (0 <= self.start_seconds < math.inf) or (end is not None and not self.start_seconds < end < math.inf):
            raise ValueError(f"a clip needs 0 <= start < end; got start {self.start_seconds}, end {end} seconds")

    def __str__(self) -> str:
        return f"{self.start_seconds:.10g}_{'end' if self.end_seconds is None else f'{self.end_seconds:.10g}'}"


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """A video as found by a scan: a file, or the `span` of a file.

    `size_bytes` and `mtime_ns` are None when the file was absent. `path` contains surrogate escapes if the file
    name is not UTF-8. `duplicate_of` is the path that already owns this id. Raises ValueError for bad
    values.
    """

    video_id: Text
    path: Text
    size_bytes: Integer | None
    mtime_ns: Integer | None
    duplicate_of: Text | None = None
    span: Span | None = None

    def __post_init__(self) -> None:
        check_video_id(self.video_id)
        for name, path in (("path", self.path), ("duplicate_of", self.duplicate_of)):
            if path is not None and (not path or "\0" in path):
                raise ValueError(f"{name} of the video {self.video_id!r} must be a file path; got {path!r}.")
        if (self.size_bytes is None) != (self.mtime_ns is None):
            raise ValueError(f"The video {self.video_id!r} must have both size and mtime, or neither.")
        if self.size_bytes is not None and self.size_bytes < 0:
            raise ValueError(f"The size of the video {self.video_id!r} is negative: {self.size_bytes} bytes.")

    @property
    def place(self) -> tuple[str, Span | None]:
        """The file and the part of it that make this video."""
        return (self.path, self.span)

    def same_file(self, other: VideoEntry) -> bool:
        """Return whether both have the same size, mtime and span."""
        return (self.size_bytes, self.mtime_ns, self.span) == (other.size_bytes, other.mtime_ns, other.span)


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """The features of one video in one space.

    `rows` is (R, D) float16, R and D at least 1, C-contiguous and finite. Row k begins at `start_seconds` + k
    * `seconds_per_row`. `duration_seconds` is the video's length, None when unknown. `source` is where the
    video came from. `colour` is what the file states of its colours: range, matrix, primaries, transfer, as far as
    known. `damaged_rows` are the ranges (first, stop) of rows that may show damaged pictures, in order; none if empty,
    None when unknown. Raises ValueError for anything else.
    """

    rows: npt.NDArray[np.float16]
    start_seconds: float
    seconds_per_row: float
    duration_seconds: float | None
    truncated: bool
    source: str
    colour: Mapping[str, str] = field(default_factory=dict)
    damaged_rows: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        rows = self.rows
        if not isinstance(rows, np.ndarray) or rows.dtype != np.float16 or rows.ndim != 2 or not rows.size:
            found = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
            self._refuse(f"rows must be a (R, D) float16 array with R and D of at least 1, not {found}")
        if not rows.flags.c_contiguous:
            self._refuse("rows must be C-contiguous; numpy.ascontiguousarray makes them so")
        if not np.isfinite(rows).all():
            self._refuse(f"row {int(np.argmin(np.isfinite(rows).all(axis=1)))} contains NaN or infinity")
        if not math.isfinite(self.start_seconds):
            self._refuse(f"start_seconds must be finite, not {self.start_seconds}")
        if not (math.isfinite(self.seconds_per_row) and self.seconds_per_row > 0):
            self._refuse(f"seconds_per_row must be finite and above 0, not {self.seconds_per_row}")
        if self.duration_seconds is not None and not 0 <= self.duration_seconds < math.inf:
            self._refuse(f"duration_seconds must be finite and not negative, or None, not {self.duration_seconds}")
        try:
            encoded = self.source.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            self._refuse("source cannot be encoded, not even with surrogate escapes")
        if b"\0" in encoded:
            self._refuse("source contains a NUL character")
        if unknown := sorted(set(self.colour) - set(COLOUR_PROPERTIES)):
            self._refuse(f"colour has {unknown}, besides {', '.join(COLOUR_PROPERTIES)}")
        bounds = [bound for pair in self.damaged_rows or () for bound in pair]
        if bounds != sorted(set(bounds)) or (bounds and not 0 <= bounds[0] < bounds[-1] <= len(rows)):
            self._refuse(f"damaged_rows must be separate ranges within {len(rows)} rows, not {self.damaged_rows}")

    @property
    def row_seconds(self) -> npt.NDArray[np.float64]:
        """The time at which each row begins, (R,) float64, in seconds of the video."""
        return self.start_seconds + np.arange(len(self.rows), dtype=np.float64) * self.seconds_per_row

    def _refuse(self, why: str) -> None:
        raise ValueError(f"Features of {self.source!r:.300} cannot be used: {why}.")


@dataclass(frozen=True, slots=True)
class VideoOutcome:
    """The outcome of one video.

    `rows` maps the name of each space to the number of rows there. An `ok` outcome has the reason None,
    or `truncated` with `truncated` set; a `failed` one has another of REASONS and a message. A failed outcome
    may have rows of spaces that were extracted earlier. `notes` names what is worth knowing about an ok video, such as
    `timestamps_repaired`; `message` explains the reason and the notes. Raises ValueError for anything else.
    """

    video_id: Text
    path: Text
    status: Literal["ok", "failed"]
    reason: Text | None
    message: Text
    attempts: Integer
    truncated: Flag = False
    decode_error_count: Integer = 0
    duration_seconds: Number | None = None
    rows: Mapping[str, Integer] = field(default_factory=dict)
    # Absent from JSON when empty: outcomes without notes have the bytes they have always had.
    notes: Annotated[tuple[Text, ...], Field(exclude_if=lambda notes: not notes)] = ()

    def __post_init__(self) -> None:
        check_video_id(self.video_id)
        if self.status == "ok":
            if self.reason != ("truncated" if self.truncated else None):
                self._refuse(f"an ok outcome with truncated={self.truncated} cannot have the reason {self.reason!r}")
        elif self.status == "failed":
            if self.reason not in REASONS or self.reason == "truncated":
                self._refuse(f"the reason {self.reason!r} of a failure must be one of {', '.join(REASONS)}")
            if not self.message.strip():
                self._refuse("a failure needs a message")
        else:
            self._refuse(f"the status is 'ok' or 'failed', not {self.status!r}")
        if self.attempts < 0 or self.decode_error_count < 0:
            self._refuse(f"counts cannot be negative: {self.attempts=}, {self.decode_error_count=}")
        if self.duration_seconds is not None and not 0 <= self.duration_seconds < math.inf:
            self._refuse(f"duration_seconds must be finite and not negative, not {self.duration_seconds}")
        self._check_notes()
        for space, count in self.rows.items():
            check_space_name(space)
            if count < 1:
                self._refuse(f"the number of rows in {space} must be at least 1, not {count}")

    def _check_notes(self) -> None:
        if not self.notes:
            return
        if bad := [note for note in self.notes if not _NOTE.fullmatch(note)]:
            self._refuse(f"notes are words of lower-case letters, digits and underscores, not {bad}")
        if len(set(self.notes)) < len(self.notes):
            self._refuse(f"notes must differ, not {list(self.notes)}")
        if self.notes and not self.message.strip():
            self._refuse("notes need a message")

    def _refuse(self, why: str) -> None:
        raise ValueError(f"The outcome of the video {self.video_id!r} is invalid: {why}.")
