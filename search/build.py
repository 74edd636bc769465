"""Builds and updates an index: embed new videos, update the FAISS index, measure the recall, publish."""

from __future__ import annotations

import logging
import time
from typing import Any

from reeldex.embedding.features import StoreFeatures
from reeldex.search.ann_index import (
    AnnIndex,
    is_exact,
    require_factory,
)
from reeldex.search.embed import Embedded, Progress
from reeldex.search.errors import IndexDamagedError, IndexNotFoundError
from reeldex.search.folder import lock_folder, sweep
from reeldex.search.generation import (
    Generation,
    IndexInputs,
    read_generation,
    require_files,
)
from reeldex.search.moment_table import MomentTable
from reeldex.search.next_generation import Build, Intact
from reeldex.search.options import AUTO, SEARCH_FIELDS, STRUCTURE_FIELDS, IndexOptions, different
from reeldex.search.origin import origin_of
from reeldex.search.report import BuildReport
from reeldex.search.request import IndexRequest
from reeldex.search.store_videos import Changes, compare, usable_videos, with_files
from reeldex.search.video_records import VideoRecords
from reeldex.search.videos_file import read_videos
from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

# A build goes through the shards in their order, so that it needs those of a few only.
_VIDEOS_KEPT = 10_000
# The other options control how a build works and do not change its result.
_LASTING = (*STRUCTURE_FIELDS, *SEARCH_FIELDS)


def build_index(request: IndexRequest, progress: Progress | None = None) -> BuildReport:
    """Build the index of a store, or add, replace and remove what changed.

    `progress` is called with (videos done, videos in total).

    The current index stays in use until the new state is complete, also after a kill. Raises
    IndexBusyError, IndexMismatchError, VideosVanishedError, NothingToIndexError, FactoryError and IndexDamagedError;
    EmbeddingError for checkpoint, word vectors or features that do not fit; StoreError for a store that cannot be read.
    """
    started = time.monotonic()
    options = request.options
    store = FeatureStore(request.store, videos_kept=_VIDEOS_KEPT)
    source = StoreFeatures(store, options.space_2d, options.space_3d, exact_ids=True)
    with lock_folder(request.out):
        current, intact = _current(request)
        sweep(request.out, current.files if current else ())
        inputs, checkpoint = origin_of(request, source, current if intact else None)
        # An index that is damaged or from other inputs only provides the next numbers, so that no name is used twice.
        base = intact if checkpoint is None else None
        del intact
        _require_factory(request, inputs)
        records = base.records if base else VideoRecords()
        changes, found = _compared(request, source, records)
        notes: tuple[str, ...] = ()
        up_to_date = not changes.any and base is not None and _is_same(base.state, inputs, options)
        if base is not None and up_to_date:
            done, embedded = base.state, Embedded()
            counts = _counts(changes, embedded)
        else:
            build = Build(request, source, inputs, checkpoint, current, base)
            embedded = build.embed(changes, progress)
            counts, kept, gone = _counts(changes, embedded), changes.kept, changes.gone
            # The videos of the store are no longer needed, and the rest takes as much memory.
            del changes
            done, notes = build.publish(kept, gone, embedded)
        sweep(request.out, done.files)
    return BuildReport(
        **found,
        **counts,
        failed=embedded.failed,
        seconds=time.monotonic() - started,
        up_to_date=up_to_date,
        notes=notes,
        **_figures(done),
    )


def _compared(request: IndexRequest, source: StoreFeatures, records: VideoRecords) -> tuple[Changes, dict[str, Any]]:
    """Return what a build has to do, and the fields of BuildReport about the videos of the store."""
    usable = usable_videos(source.store, source.spaces, request.captions)
    wanted = with_files(usable.videos, records, request.options.missing_files)
    return compare(records, wanted), {
        "videos_without_file": len(usable.videos) - len(wanted),
        "videos_captioned": None if request.captions is None else int(wanted.numbers("captioned").sum()),
        "unusable_captions": usable.unusable_captions,
    }


def _counts(changes: Changes, embedded: Embedded) -> dict[str, Any]:
    """Return the fields of BuildReport that count videos by what was done with them."""
    failed = sum(video.video_id in embedded.failed for video in changes.changed) if embedded.failed else 0
    return {
        "videos_added": len(changes.added) - (len(embedded.failed) - failed),
        "videos_changed": len(changes.changed) - failed,
        # One that changed and cannot be embedded any more has left the index.
        "videos_removed": changes.removed + failed,
        "videos_kept": len(changes.kept),
    }


def _is_same(state: Generation, inputs: IndexInputs, options: IndexOptions) -> bool:
    """Whether an index was made from these inputs, with options that give the same result."""
    return state.inputs == inputs and not different(options, state.options, _LASTING)


def _figures(state: Generation) -> dict[str, Any]:
    """Return the fields of BuildReport that describe the state of an index."""
    return {
        "moments": state.moments,
        "factory": state.ann_index.factory,
        "recall_at_10": state.recall.at_10,
        "recall_sample": state.recall.sample,
        "recall_queries": state.recall.queries,
        "size_bytes": state.size_bytes,
    }


def _current(request: IndexRequest) -> tuple[Generation | None, Intact | None]:
    """Return the current index, twice if it is intact. Damage is an error unless the index is to be rebuilt."""
    current = None
    try:
        current = read_generation(request.out)
        require_files(request.out, current)
        records = read_videos(request.out, current)
        MomentTable.open(request.out, current, records)
        return current, Intact(current, records, AnnIndex.load(request.out, current.ann_index))
    except IndexNotFoundError:
        return None, None
    except IndexDamagedError as error:
        if not request.rebuild:
            raise
        log.warning("Rebuilding a damaged index: %s", error)
        return current, None


def _require_factory(request: IndexRequest, inputs: IndexInputs) -> None:
    """Validate the factory string before hours of work rather than after them."""
    factory, dims = request.options.factory, request.options.pca_dim
    if factory != AUTO:
        rotated = 0 < dims < inputs.embed_dim and not is_exact(factory)
        require_factory(factory, dims if rotated else inputs.embed_dim)
