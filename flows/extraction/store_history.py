"""The state of a store after each run, as a Markdown table that grows from version to version."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.flows.extraction.markdown import cell, facts, table
from reeldex.quantities import counted, data_size, duration

if TYPE_CHECKING:
    from reeldex.storage.status import StoreStatus

_MOST_RUNS = 100
_HEADING = "**After each run, newest first**"
_NOTHING = "-"


@dataclass(frozen=True)
class RunEnd:
    """A run of a store that has ended: its name, when, and how much video it extracted in how much time of devices."""

    name: str
    at: datetime
    seconds_of_video: float = 0.0
    seconds_of_work: float = 0.0

    @property
    def speed(self) -> str:
        """The speed of the extraction, for people."""
        if not (self.seconds_of_video and self.seconds_of_work):
            return _NOTHING
        return f"{self.seconds_of_video / self.seconds_of_work:,.2f} s of video per second"


def store_key(store: Path, *, taken: bool = False) -> str:
    """Return the key of a store's artifact, such as `reeldex-store-kitchen`; `taken`: by another store of this name.

    Keys consist of lower-case letters, digits and dashes.
    """
    path = store.absolute()
    name = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")
    if taken or not name:
        name = f"{name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}".strip("-")
    return f"reeldex-store-{name}"


def store_page(store: Path, status: StoreStatus, run: RunEnd, before: str = "") -> str:
    """Return the page on a store as Markdown; `before` is that of the run before, whose table it continues."""
    row = {
        "when": f"{run.at:%Y-%m-%d %H:%M}",
        "run": run.name,
        "shards": _of(status.shards_done, status.shards_total),
        "videos with features": _of(status.ok, status.videos_total),
        "without features": _without(status) or "0",
        "size": data_size(sum(status.bytes_per_space.values())),
        "speed": run.speed,
    }
    first, second, newest = table([row]).splitlines()
    earlier = [line for line in _earlier_rows(before) if _columns(line) == _columns(newest)]
    rows = [newest, *earlier][:_MOST_RUNS]
    return "\n".join([_first_line(store), "", _facts(status), "", _HEADING, "", first, second, *rows])


def is_page_of(store: Path, page: str) -> bool:
    """Whether a page is about this store, and not about another one of the same name."""
    return page.partition("\n")[0] == _first_line(store)


def store_sentence(status: StoreStatus, run: RunEnd) -> str:
    """Return the state of a store in a sentence without its full stop."""
    parts = [
        f"{_of(status.ok, status.videos_total)} videos have features",
        f"{_of(status.shards_done, status.shards_total)} shards done",
        *([f"without features: {without}"] if (without := _without(status)) else []),
        *([f"{counted(len(status.damaged), 'damaged file')}"] if status.damaged else []),
        data_size(sum(status.bytes_per_space.values())),
        *([run.speed] if run.speed != _NOTHING else []),
    ]
    return ", ".join(parts)


def _first_line(store: Path) -> str:
    return f"Store {cell(str(store.absolute()))}"


def _facts(status: StoreStatus) -> str:
    rows = [
        ("Shards done", _of(status.shards_done, status.shards_total)),
        ("Videos with features", _of(status.ok, status.videos_total)),
        *((f"Failed: {reason}", f"{count:,}") for reason, count in status.failed_by_reason.items()),
        *([("Not extracted yet", f"{status.pending:,}")] if status.pending else []),
        *([("Truncated, features kept", f"{status.truncated:,}")] if status.truncated else []),
        *(("Damaged, to be extracted again by `rerun-failed`", cell(file)) for file in status.damaged),
        *(("Cannot be read", cell(each.file)) for each in status.unreadable),
        ("Video with features", duration(status.seconds_of_video_ok)),
        *((f"Size of {cell(space)}", data_size(size)) for space, size in status.bytes_per_space.items()),
    ]
    return facts(rows)


def _without(status: StoreStatus) -> str:
    parts = [f"{count:,} {reason}" for reason, count in status.failed_by_reason.items()]
    return ", ".join([*parts, *([f"{status.pending:,} not extracted yet"] if status.pending else [])])


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,}"


def _earlier_rows(page: str) -> list[str]:
    return page.partition(_HEADING)[2].strip().splitlines()[2:]


def _columns(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line))
