"""The store's JSON files: named, versioned, and carrying a checksum of themselves."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from reeldex.storage.atomic import publish_text
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.fields import Fields
from reeldex.storage.schema import FORMAT, FORMAT_VERSION, JSON
from reeldex.storage.system_errors import reading

REMEDIES = {
    "manifest": "Restore this file from a backup: it is the only record of which videos the shard holds.",
    "outcomes": "Restore this file from a backup, or delete it and run `reeldex rerun`: its shard is then made again.",
}


def canonical_json(value: JSON) -> str:
    """One text for one value: sorted keys, no spaces, ASCII only. Raises ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def write_document(path: Path, kind: str, body: Mapping[str, JSON]) -> None:
    """Publish `body` as a JSON file of this kind.

    The field `sha256` is the SHA-256 of the canonical JSON of all other fields; file names that are not UTF-8
    stay intact because every non-ASCII character is escaped.
    """
    content: dict[str, JSON] = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, **body}
    content["sha256"] = _checksum(content)
    publish_text(path, json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def read_document(path: Path, kind: str) -> Fields:
    """Read a JSON file of this kind; returns the fields of its body.

    Raises StoreDamagedError when it is no JSON, of another kind or version, or does not match its own
    checksum; StoreUnreadableError where the system does not let us read it; FileNotFoundError when it is absent.
    """
    remedy = REMEDIES[kind]
    with reading(path):
        text = path.read_bytes()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreDamagedError(f"{path}: this is not readable JSON ({error}). {remedy}") from error
    fields = Fields(content, str(path), remedy)
    if (found := fields.text("format")) != FORMAT:
        fields.refuse(f"this is not a {FORMAT} file but {found!r}")
    if (version := fields.integer("format_version")) != FORMAT_VERSION:
        raise StoreDamagedError(
            f"{path}: written in format version {version}, while this program reads version "
            f"{FORMAT_VERSION}. "
            "Use the release of reeldex that wrote it, or a newer one."
        )
    if (found := fields.text("kind")) != kind:
        fields.refuse(f"this is no {kind} file but one of kind {found!r}")
    recorded = fields.text("sha256")
    del content["sha256"]
    if _checksum(content) != recorded:
        fields.refuse("the content does not match the checksum it carries: it was edited or damaged")
    return fields


def _checksum(content: Mapping[str, JSON]) -> str:
    return hashlib.sha256(canonical_json(content).encode("ascii")).hexdigest()
