"""What a run says about its search, and what it records of it in the store."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reeldex.flows.config.extraction import VideoIdRule
from reeldex.flows.extraction.addresses import address_of
from reeldex.flows.extraction.search_notes import NoteKind
from reeldex.flows.extraction.sources import is_searched
from reeldex.remote_urls import is_url
from reeldex.storage.errors import StoreBusyError, StoreDamagedError
from reeldex.storage.searches import Searches

if TYPE_CHECKING:
    from reeldex.flows.config.pipeline import ExtractConfig
    from reeldex.flows.extraction.search_notes import SearchNote
    from reeldex.flows.extraction.sources import FoundVideos
    from reeldex.storage.store import FeatureStore
from reeldex.storage.write_errors import UnwritableError

log = logging.getLogger(__name__)

_WARNED = {NoteKind.UNREADABLE_FOLDER, NoteKind.LIKE_CREDENTIALS, NoteKind.EQUAL_NAME, NoteKind.EQUAL_ID}


def log_notes(notes: Sequence[SearchNote], given: VideoIdRule, used: VideoIdRule) -> None:
    """Log what a search passed over, before extraction starts; what may surprise, as a warning.

    `given` is the rule of ids of the configuration, `used` what it means for the store.
    """
    for note in notes:
        level = logging.WARNING if note.kind in _WARNED else logging.INFO
        prefix = "" if note.is_about_ids else "Not searched: "
        remedy = f" {_remedy_for_equal_ids(given, used)}" if note.kind is NoteKind.EQUAL_ID else ""
        log.log(level, "%s%s.%s", prefix, note, remedy)


def _remedy_for_equal_ids(given: VideoIdRule, used: VideoIdRule) -> str:
    if used is VideoIdRule.STEM:
        others = "path" if given is VideoIdRule.AUTO else "auto or path"
        return f"Use --video-id {others}, or give ids in a list."
    # By the other rules, files get different ids, unless a list gives them.
    return "Give each video of the lists an id of its own."


def source_key(source: str | Sequence[str], options: ExtractConfig) -> str | None:
    """Return the name of a search in the store's record; None for single videos, whose content does not change.

    The same folder with other patterns is another search: what the patterns leave out has not left the folder.
    """
    sources = [source] if isinstance(source, str) else list(source)
    if not any(is_searched(each) for each in sources):
        return None
    patterns = [*(f"include {each}" for each in options.include), *(f"exclude {each}" for each in options.exclude)]
    return "\n".join([*sorted(map(_named, set(sources))), *patterns])


def _named(source: str) -> str:
    return address_of(source).rstrip("/") if is_url(source) else os.path.abspath(source)  # noqa: PTH100


def record_search(store: FeatureStore, key: str | None, found: FoundVideos, *, needs_lock: bool = False) -> None:
    """Record which videos a search found, so that those that leave the source later are known.

    With `needs_lock`, takes the store's lock, unless another run holds it: that run's plan is then as recent as this.
    """
    if not needs_lock:
        _record(store, key, found)
        return
    if _is_recorded(store, key, found):
        return
    try:
        with store.lock():
            # Anew: another run may have recorded its search meanwhile.
            _record(store, key, found)
    except StoreBusyError:
        log.info("Another run uses the store: which videos left the source is recorded by the next run.")
    except UnwritableError as error:
        log.warning("Which videos left the source is not recorded: %s", error)


def _record(store: FeatureStore, key: str | None, found: FoundVideos) -> None:
    if (after := _after_search(store, key, found)) is not None:
        store.record_searches(after)


def _is_recorded(store: FeatureStore, key: str | None, found: FoundVideos) -> bool:
    try:
        return _after_search(store, key, found) is None
    except StoreDamagedError:
        # Without the lock, another run may remove the files of the former record.
        return False


def _after_search(store: FeatureStore, key: str | None, found: FoundVideos) -> Searches | None:
    """Return the record of searches with this one; None if it is in there already."""
    recorded = store.searches()
    before = recorded or Searches(equal_names_get_paths=not store.shard_count())
    if key is None:
        return before if recorded is None else None
    ids = {entry.video_id for entry in (*found.videos, *found.unsettled)}
    if any(note.is_failure for note in found.notes):
        # Where a folder cannot be read, its videos have not left.
        ids.update(*(store.searched_ids(each) for each in before.sources if each.source == key))
    after = before.with_search(key, ids, store.searched_ids)
    return None if after == recorded else after
