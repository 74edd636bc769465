"""What the file of a lease says: who holds it, for what, and how long it counts without a renewal."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from reeldex.storage.json_codec import Integer, Number, Text, from_json, to_json
from reeldex.storage.lease_owner import LeaseOwner

LEASE_SECONDS = 60.0
"""How long a holder may show no sign of life, unless it says otherwise."""

_NAME = re.compile(r"(?P<key>[a-z][a-z0-9-]*)\.(?P<counter>[1-9]\d*)\.json", re.ASCII)
# Room for more digits, so that a renewal overwrites all of the former content.
_PADDED_BYTES = 1024
UNNAMED = "another process, whose claim cannot be read"


@dataclass(frozen=True)
class LeaseRecord:
    """What the file of a lease holds. `token` is unique; `renewals` grows while the owner lives."""

    purpose: Text
    token: Text
    lease_seconds: Number
    renewals: Integer
    owner: LeaseOwner

    def content(self) -> bytes:
        """Return the content of the file."""
        return json.dumps(to_json(self), indent=1).encode("ascii").ljust(_PADDED_BYTES) + b"\n"


@dataclass(frozen=True)
class FoundLease:
    """A lease as it was found; `record` is None for a file that cannot be read, such as one that is being written."""

    key: str
    counter: int
    content: bytes
    record: LeaseRecord | None = field(compare=False)

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.key}.{self.counter}.json"

    @property
    def lease_seconds(self) -> float:
        """How long its owner may show no sign of life."""
        return self.record.lease_seconds if self.record is not None else LEASE_SECONDS

    @property
    def purpose(self) -> str:
        """What it is held for."""
        return self.record.purpose if self.record is not None else ""

    def __str__(self) -> str:
        return str(self.record.owner) if self.record is not None else UNNAMED


def is_lease_file(name: str) -> bool:
    """Return whether this is the name of a lease's file; others in the folder are left alone."""
    return _NAME.fullmatch(name) is not None


def found_lease(name: str, content: bytes) -> FoundLease | None:
    """Return the lease whose file has this name and content; None if it is not the name of one."""
    match = _NAME.fullmatch(name)
    return FoundLease(match["key"], int(match["counter"]), content, _record(content)) if match else None


def token_of(content: bytes | None) -> str | None:
    """Return the token in the content of a file; None if it cannot be read."""
    record = _record(content)
    return record.token if record is not None else None


def _record(content: bytes | None) -> LeaseRecord | None:
    try:
        return from_json(LeaseRecord, json.loads(content or b""))
    except (ValueError, RecursionError):
        return None
