"""The store's JSON files: typed, versioned, and with a checksum of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import orjson

from reeldex.storage.atomic import publish_new_text, publish_text
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.json_codec import from_json
from reeldex.storage.schema import FORMAT, FORMAT_VERSION, JSON
from reeldex.storage.system_errors import reading

REMEDIES = {
    "manifest": "Restore this file from a backup: it is the only record of which videos the shard holds.",
    "outcomes": "Run `reeldex rerun`, which extracts its shard again, or restore this file from a backup.",
    "damage": "Run `reeldex verify`, which writes this file again.",
    "export": "Export the features again with --overwrite, or import the .npy files as features of unknown origin with "
    "--without-record.",
    **dict.fromkeys(
        ("removed", "forgotten", "searches"),
        "Restore this file from a backup, or run `reeldex verify STORE --set-aside-records` (the flow `verify` with "
        "set_aside_records), which says what the store no longer knows without it.",
    ),
}


T = TypeVar("T")


def canonical_json(value: JSON) -> str:
    """Return canonical JSON: sorted keys, no spaces, ASCII only. Raises ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def write_document(path: Path, kind: str, body: Mapping[str, JSON]) -> None:
    """Publish `body` as a JSON file of this kind, see `_document`."""
    publish_text(path, _document(kind, body))


def write_new_document(path: Path, kind: str, body: Mapping[str, JSON]) -> bool:
    """Publish `body` as a JSON file of this kind unless it exists, and return whether it was published."""
    return publish_new_text(path, _document(kind, body))


def _document(kind: str, body: Mapping[str, JSON]) -> str:
    """Return the text of a JSON file of this kind.

    The field `sha256` is the SHA-256 of the canonical JSON of all other fields; file names that are not UTF-8
    stay intact because every non-ASCII character is escaped.
    """
    content: dict[str, JSON] = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, **body}
    content["sha256"] = _checksum(content)
    return json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def read_document(path: Path, kind: str, content: type[T]) -> T:
    """Return the body of a JSON file of this kind, as the dataclass `content`.

    Raises StoreDamagedError when it is not JSON, of another kind or version, does not match its own checksum, or
    does not have the fields of `content`; StoreUnreadableError where the system does not allow reading it;
    FileNotFoundError when it is absent.
    """
    with reading(path):
        text = path.read_bytes()
    body = _intact(text, kind)
    if body is None:
        body = _checked(path, text, kind)
    try:
        return from_json(content, body)
    except ValueError as error:
        refuse(path, kind, str(error), error)


def _intact(text: bytes, kind: str) -> dict[str, Any] | None:
    """Return the body of an intact document of this kind; None for any other, and for one that needs `_checked`.

    A store of a million videos has 10,000 documents, and this takes a fifth of the time of `_checked`. It is as strict:
    the bytes that are hashed have to be the canonical JSON, which differs from what orjson writes for a few numbers and
    for characters beyond ASCII.
    """
    try:
        body = orjson.loads(text)
        recorded = body.pop("sha256")
        found = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
        head = (body.pop("format"), body.pop("format_version"), body.pop("kind"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return body if found == recorded and head == (FORMAT, FORMAT_VERSION, kind) else None


def _checked(path: Path, text: bytes, kind: str) -> dict[str, Any]:
    """Return the body of a document of this kind, or raise StoreDamagedError that says what is wrong with it."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreDamagedError(f"{path}: this is not valid JSON ({error}). {REMEDIES[kind]}") from error
    if not isinstance(body, dict):
        refuse(path, kind, f"expected a JSON object, found {type(body).__name__}")
    if (found := body.pop("format", None)) != FORMAT:
        refuse(path, kind, f"this is not a {FORMAT} file but {found!r:.80}")
    if (version := body.pop("format_version", None)) != FORMAT_VERSION:
        raise StoreDamagedError(
            f"{path}: written in format version {version!r:.80}, while this program reads version "
            f"{FORMAT_VERSION}. "
            "Use the release of reeldex that wrote it, or a newer one."
        )
    if (found := body.pop("kind", None)) != kind:
        refuse(path, kind, f"this is not a {kind} file but one of kind {found!r:.80}")
    recorded = body.pop("sha256", None)
    try:
        found = _checksum({"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, **body})
    except ValueError as error:
        # Python reads NaN and 1e999.
        refuse(path, kind, f"it has a number that JSON does not have: {error}", error)
    if found != recorded:
        refuse(path, kind, "the content does not match its checksum: it was edited or damaged")
    return body


def refuse(path: Path, kind: str, why: str, cause: Exception | None = None) -> NoReturn:
    """Raise StoreDamagedError for a file of this kind, with its remedy."""
    raise StoreDamagedError(f"{path}: {why}. {REMEDIES[kind]}") from cause


def _checksum(content: Mapping[str, JSON]) -> str:
    return hashlib.sha256(canonical_json(content).encode("ascii")).hexdigest()
