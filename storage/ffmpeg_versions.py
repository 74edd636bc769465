"""Which versions of ffmpeg decoded the videos of a store: some files differ between versions."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping

from reeldex.storage.catalog import Catalog
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.shard_summary import Summaries


def store_versions(catalog: Catalog) -> dict[str, int]:
    """Return the number of shards by the version of ffmpeg that decoded them last.

    Those that name none, and those whose outcomes are damaged, do not count. Raises StoreUnreadableError.
    """
    found: Counter[str] = Counter()
    summaries = Summaries(catalog)
    for shard in range(catalog.shard_count()):
        # A run must be able to start that repairs damaged outcomes; whoever inspects the shard reports the damage.
        with contextlib.suppress(StoreDamagedError):
            summary = summaries.files_of(shard)
            if summary is not None and summary.ffmpeg is not None:
                found[summary.ffmpeg] += 1
    summaries.keep()
    return dict(sorted(found.items()))


def mixture(versions: Mapping[str, int]) -> str | None:
    """Return the sentence on a store with features of several versions of ffmpeg; None if there are not several."""
    if len(versions) < 2:
        return None
    listed = ", ".join(f"{version} ({count})" for version, count in versions.items())
    return (
        f"The shards were decoded with several versions of ffmpeg: {listed}. A few files have different frames in "
        "each: compare videos only within one version, or extract all again with one."
    )
