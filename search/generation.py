"""The files of an index: `index.json` names every file in use, and replacing it publishes a build.

```
index/
  index.json                    this state; has a checksum of its content and the size of every other file
  videos-00007.json             the videos of the state and where their moments are stored
  segment-00003.embeddings.npy  (N, D) float16, memory-mapped; never changed
  segment-00003.moments.npy     times and caption offsets of the same N moments
  segment-00003.captions.txt
  structure-00007.faiss, .npz   the FAISS index and the projection into it
  .lock
```
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, PlainSerializer

from reeldex.search.errors import IndexDamagedError, IndexNotFoundError, IndexUnreadableError
from reeldex.search.options import IndexOptions
from reeldex.storage.atomic import publish_text
from reeldex.storage.documents import canonical_json
from reeldex.storage.errors import StoreUnreadableError
from reeldex.storage.json_codec import Flag, Integer, Number, Text, from_json, to_json
from reeldex.storage.schema import JSON, JSONObject
from reeldex.storage.system_errors import look_at, reading

INDEX = "index.json"
FORMAT = "reeldex-index"
FORMAT_VERSION = 2
# Options whose names in the file differ from those in the configuration: indexes open in every release.
_OPTION_NAMES = {"pca_dim": "rotated_dims", "rerank_candidates": "candidates", "nprobe": "probes"}
_OPTION_NAMES_IN_FILE = {in_file: name for name, in_file in _OPTION_NAMES.items()}

REMEDY = "Restore the index from a backup, or build it again with `reeldex index --rebuild`."
"""What to do about a damaged index."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file as it was when it was read: `sha256` of its content."""

    path: Text
    size_bytes: Integer
    mtime_ns: Integer
    sha256: Text


@dataclass(frozen=True, slots=True)
class IndexInputs:
    """What the embeddings were made from.

    `store_id` identifies the store at any path; `spaces` is as in a checkpoint's origin. `words_cache` is the path of
    the word vectors, `words_sha256` the hash of their source.
    """

    store: Text
    store_id: Text
    checkpoint: FileIdentity
    words_cache: Text
    words_sha256: Text
    spaces: JSONObject
    embed_dim: Integer


@dataclass(frozen=True, slots=True)
class AnnIndexRecord:
    """The current FAISS index: trained on `trained_on` moments, searched with `nprobe` lists (0: exact).

    `number` is that of its files; `dim` the dimension of its vectors.
    """

    number: Integer
    factory: Text
    exact: Flag
    trained_on: Integer
    nprobe: Annotated[Integer, Field(alias="probes")]
    dim: Integer


@dataclass(frozen=True, slots=True)
class Recall:
    """The share of the 10 best moments that a search found for `sample` queries of a kind."""

    at_10: Number
    sample: Integer
    queries: Text


@dataclass(frozen=True)
class Generation:
    """One published state of an index. `rows` has the row count of each segment, `files` each file's size in bytes.

    The aliases are the names in `index.json`, whose format predates the field names.
    """

    number: Integer
    created: Text
    inputs: Annotated[IndexInputs, Field(alias="made")]
    options: IndexOptions
    next_id: Integer
    # Keys of a JSON object are strings.
    rows: Annotated[Mapping[int, Integer], PlainSerializer(lambda rows: {str(each): rows[each] for each in rows})]
    ann_index: Annotated[AnnIndexRecord, Field(alias="structure")]
    recall: Recall
    moments: Integer
    videos: Integer
    files: Mapping[str, Integer]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files but `index.json`."""
        return sum(self.files.values())


def segment_files(number: int) -> tuple[str, str, str]:
    """Return the file names of a segment: embeddings, moments, captions."""
    stem = f"segment-{number:05d}"
    return f"{stem}.embeddings.npy", f"{stem}.moments.npy", f"{stem}.captions.txt"


def ann_index_files(number: int, *, exact: bool) -> tuple[str, ...]:
    """Return the file names of a FAISS index: itself, and the projection unless it is exact."""
    stem = f"structure-{number:05d}"
    return (f"{stem}.faiss",) if exact else (f"{stem}.faiss", f"{stem}.npz")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise IndexUnreadableError where the system does not allow reading `path`; FileNotFoundError passes."""
    try:
        with reading(path):
            yield
    except StoreUnreadableError as error:
        raise IndexUnreadableError(str(error), error.errno) from error


def publish_generation(folder: Path, generation: Generation) -> None:
    """Publish this state of the index atomically."""
    content: dict[str, JSON] = {"format": FORMAT, "format_version": FORMAT_VERSION, **to_json(generation)}
    content["options"] = _renamed(to_json(generation.options), _OPTION_NAMES)
    content["sha256"] = _checksum(content)
    publish_text(folder / INDEX, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_generation(folder: Path) -> Generation:
    """Return the state of an index; raises IndexNotFoundError, and IndexDamagedError for a changed or foreign file.

    Raises IndexUnreadableError where the system does not allow reading it.
    """
    path = folder / INDEX
    try:
        with readable(path):
            text = path.read_bytes()
    except FileNotFoundError as error:
        raise IndexNotFoundError(
            f"There is no index at {folder}: it has no {INDEX}. Correct the path, or build one with `reeldex index`."
        ) from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IndexDamagedError(f"{path} is not valid JSON: {error}. {REMEDY}") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise IndexDamagedError(f"{path} is not a {FORMAT} file. {REMEDY}")
    if (version := content.pop("format_version", None)) != FORMAT_VERSION:
        raise IndexDamagedError(
            f"{path} has the format version {version!r}, and this reeldex reads {FORMAT_VERSION}. Use the reeldex that "
            "wrote it, or build the index again, in another folder or over this one (--rebuild)."
        )
    recorded = content.pop("sha256", None)
    try:
        intact = _checksum({"format": FORMAT, "format_version": FORMAT_VERSION, **content}) == recorded
    except ValueError:
        intact = False  # Python reads NaN and 1e999, which are not JSON.
    if not intact:
        raise IndexDamagedError(f"{path} does not match its checksum: it was edited or damaged. {REMEDY}")
    try:
        if isinstance(options := content.get("options"), dict):
            content["options"] = _renamed(options, _OPTION_NAMES_IN_FILE)
        return from_json(Generation, content)
    except ValueError as error:
        raise IndexDamagedError(f"{path} does not describe an index: {error}. {REMEDY}") from error


def require_files(folder: Path, generation: Generation) -> None:
    """Raise IndexDamagedError unless every file of a generation exists with its recorded size.

    Raises IndexUnreadableError where the system does not allow reading it.
    """
    for name, size_bytes in generation.files.items():
        path = folder / name
        with readable(path):
            status = look_at(path)
        found = None if status is None else status.st_size
        if found != size_bytes:
            state = "is missing" if found is None else f"has {found} bytes instead of {size_bytes}"
            raise IndexDamagedError(f"{path} {state}. {REMEDY}")


def _renamed(options: Mapping[str, JSON], names: Mapping[str, str]) -> dict[str, JSON]:
    return {names.get(name, name): value for name, value in options.items()}


def _checksum(content: Mapping[str, JSON]) -> str:
    return hashlib.sha256(canonical_json(content).encode("ascii")).hexdigest()
