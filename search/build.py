"""Builds and updates an index: embed new videos, update the FAISS index, measure the recall, publish."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from reeldex.embedding.features import StoreFeatures
from reeldex.embedding.training.checkpoint import Checkpoint, load_checkpoint
from reeldex.search.ann_index import (
    AnnIndex,
    build_ann_index,
    choose_factory,
    is_exact,
    require_factory,
    why_rebuild,
)
from reeldex.search.compaction import compact, needs_compaction
from reeldex.search.embed import Embedded, NewSegment, Progress, VideoEmbedder
from reeldex.search.errors import IndexDamagedError, IndexNotFoundError, NothingToIndexError
from reeldex.search.folder import lock_folder, sweep
from reeldex.search.generation import (
    AnnIndexRecord,
    Generation,
    IndexInputs,
    Recall,
    VideoRecord,
    ann_index_files,
    publish_generation,
    read_generation,
    read_videos,
    require_files,
    segment_files,
    videos_file,
    write_videos,
)
from reeldex.search.moment_table import MomentTable
from reeldex.search.options import AUTO, SEARCH_FIELDS, STRUCTURE_FIELDS, different
from reeldex.search.origin import origin_of
from reeldex.search.recall import draw_sample, settle_nprobe
from reeldex.search.report import BuildReport
from reeldex.search.request import IndexRequest
from reeldex.search.segments import open_segment
from reeldex.search.store_videos import Changes, compare, usable_videos, with_files
from reeldex.search.tower import SentenceTower, VideoTower
from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

_RECALL_LOST = 0.05
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
    store = FeatureStore(request.store)
    source = StoreFeatures(store, options.space_2d, options.space_3d)
    with lock_folder(request.out):
        current, intact = _current(request)
        sweep(request.out, current.files if current else ())
        inputs, checkpoint = origin_of(request, source, current if intact else None)
        # An index that is damaged or from other inputs only provides the next numbers, so that no name is used twice.
        base = intact if checkpoint is None else None
        del intact
        _require_factory(request, inputs)
        records = {record.video_id: record for record in base.records} if base else {}
        usable = usable_videos(store, source.spaces, request.captions)
        wanted = with_files(usable.videos, records, options.missing_files)
        changes = compare(records, wanted)
        notes: tuple[str, ...] = ()
        if (
            base
            and not changes.any
            and base.state.inputs == inputs
            and not different(options, base.state.options, _LASTING)
        ):
            done, embedded, up_to_date = base.state, Embedded(), True
        else:
            build = _Build(request, source, inputs, checkpoint, current, base)
            embedded = build.embed(changes, progress)
            done, notes = build.publish(changes, embedded, records)
            up_to_date = False
        sweep(request.out, done.files)
    return BuildReport(
        videos_added=sum(record.video_id not in records for record in embedded.records),
        videos_changed=sum(record.video_id in records for record in embedded.records),
        videos_removed=len(changes.removed) + sum(video_id in records for video_id in embedded.failed),
        videos_kept=len(changes.kept),
        videos_without_file=len(usable.videos) - len(wanted),
        videos_captioned=None if request.captions is None else sum(video.captioned for video in wanted),
        unusable_captions=usable.unusable_captions,
        failed=embedded.failed,
        moments=done.moments,
        factory=done.ann_index.factory,
        recall_at_10=done.recall.at_10,
        recall_sample=done.recall.sample,
        recall_queries=done.recall.queries,
        seconds=time.monotonic() - started,
        size_bytes=done.size_bytes,
        up_to_date=up_to_date,
        notes=notes,
    )


@dataclass(frozen=True)
class _Intact:
    """The current index, all files of which could be opened."""

    state: Generation
    records: tuple[VideoRecord, ...]
    ann_index: AnnIndex


def _current(request: IndexRequest) -> tuple[Generation | None, _Intact | None]:
    """Return the current index, twice if it is intact. Damage is an error unless the index is to be rebuilt."""
    current = None
    try:
        current = read_generation(request.out)
        require_files(request.out, current)
        records = read_videos(request.out, current)
        MomentTable.open(request.out, current, records)
        return current, _Intact(current, records, AnnIndex.load(request.out, current.ann_index))
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


@dataclass(frozen=True)
class _Build:
    """The state of one build: `current` is the index in use, `base` the same if it can be extended."""

    request: IndexRequest
    source: StoreFeatures
    inputs: IndexInputs
    read_checkpoint: Checkpoint | None
    current: Generation | None
    base: _Intact | None

    @property
    def folder(self) -> Path:
        return self.request.out

    @property
    def number(self) -> int:
        return self.current.number + 1 if self.current else 1

    @property
    def next_segment(self) -> int:
        return max(self.current.rows, default=0) + 1 if self.current else 1

    @property
    def next_id(self) -> int:
        return self.current.next_id if self.current else 0

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return self.read_checkpoint or load_checkpoint(self.request.checkpoint)

    def embed(self, changes: Changes, progress: Progress | None) -> Embedded:
        videos = (*changes.added, *changes.changed)
        if not videos:
            return Embedded()
        options = self.request.options
        tower = VideoTower(self.checkpoint.model(), options.batch_size, options.device)
        embedder = VideoEmbedder(self.source, tower, options, self.request.captions)
        target = NewSegment(self.folder, self.next_segment, self.next_id, self.inputs.embed_dim)
        embedded = embedder.write(videos, target, progress)
        if not embedded.records and not changes.kept:
            raise NothingToIndexError(
                f"None of the {len(videos)} videos can be indexed, the first because of this: "
                f"{next(iter(embedded.failed.values()))}"
            )
        return embedded

    def publish(
        self, changes: Changes, embedded: Embedded, records: dict[str, VideoRecord]
    ) -> tuple[Generation, tuple[str, ...]]:
        """Publish the new state; return it and the notes for the report."""
        notes: list[str] = []
        live: Sequence[VideoRecord] = (*changes.kept, *embedded.records)
        rows = self._rows(live, embedded)
        table = self._table(live, rows)
        if needs_compaction(rows, live):
            notes.append(f"{len(rows)} segments with {sum(rows.values())} rows became one of {len(table)}")
            number = max(rows) + 1
            live = compact(table, self.folder, number)
            rows = {number: len(table)}
            table = self._table(live, rows)
        kept_ids = {record.video_id for record in changes.kept}
        gone = [record for video_id, record in records.items() if video_id not in kept_ids]
        ann_index, why = self._ann_index(table, gone)
        sentences = SentenceTower(lambda: self.checkpoint, self.request.words)
        options = self.request.options
        sample = draw_sample(table, sentences, options.recall_sample)
        nprobe, recall = settle_nprobe(table, ann_index, options.rerank_candidates, options.nprobe, sample)
        if not why and self.base and recall.at_10 < self.base.state.recall.at_10 - _RECALL_LOST:
            why = f"its recall@10 had fallen to {recall.at_10:.3f}"
            ann_index = build_ann_index(table, options, ann_index.factory)
            nprobe, recall = settle_nprobe(table, ann_index, options.rerank_candidates, options.nprobe, sample)
        if why:
            notes.append(f"{ann_index.factory} was rebuilt: {why}" if self.base else f"{ann_index.factory} was built")
        same = self.base is not None and not why and not gone and not embedded.records
        done = self._write(live, rows, ann_index, replace_number=not same, nprobe=nprobe, recall=recall)
        for note in notes:
            log.info("%s", note)
        return done, tuple(notes)

    def _rows(self, live: Sequence[VideoRecord], embedded: Embedded) -> dict[int, int]:
        """Return the row counts of the segments that still have moments in use."""
        rows = {**(self.base.state.rows if self.base else {}), self.next_segment: embedded.moments}
        used = {record.segment for record in live}
        return {number: count for number, count in rows.items() if number in used}

    def _table(self, live: Sequence[VideoRecord], rows: dict[int, int]) -> MomentTable:
        dim = self.inputs.embed_dim
        return MomentTable(live, {at: open_segment(self.folder, at, count, dim) for at, count in rows.items()}, dim)

    def _ann_index(self, table: MomentTable, gone: Sequence[VideoRecord]) -> tuple[AnnIndex, str | None]:
        """Update the current FAISS index, or build one; return why it was built."""
        options, base = self.request.options, self.base
        factory = choose_factory(options, len(table), self.inputs.embed_dim)
        why: str | None = "there was none"
        if base:
            current = base.state
            why = why_rebuild(current.ann_index, current.options, options, len(table), self.inputs.embed_dim)
        if base is None or why:
            return build_ann_index(table, options, factory), why
        ann_index = base.ann_index
        if gone:
            ann_index.remove(np.concatenate([np.arange(each.moments) + each.first_id for each in gone]))
        new = MomentTable(
            [record for record in table.records if record.first_id >= self.next_id], table.segments, table.embed_dim
        )
        for ids, block in new.blocks():
            ann_index.add(ids, block)
        return ann_index, None

    def _write(  # noqa: PLR0913 - the parts of one state, half of them by keyword
        self,
        live: Sequence[VideoRecord],
        rows: dict[int, int],
        ann_index: AnnIndex,
        *,
        replace_number: bool,
        nprobe: int,
        recall: Recall,
    ) -> Generation:
        kept = self.base.state.ann_index.number if self.base and not replace_number else None
        record = AnnIndexRecord(
            number=kept or self.number,
            factory=ann_index.factory,
            exact=ann_index.exact,
            trained_on=ann_index.trained_on,
            nprobe=nprobe,
            dim=ann_index.dim,
        )
        if kept is None:
            ann_index.save(self.folder, record.number)
        write_videos(self.folder, self.number, live)
        names = [videos_file(self.number), *ann_index_files(record.number, exact=record.exact)]
        names += [name for number in rows for name in segment_files(number)]
        done = Generation(
            number=self.number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            inputs=self.inputs,
            options=self.request.options,
            next_id=live[-1].first_id + live[-1].moments if live else self.next_id,
            rows=rows,
            ann_index=record,
            recall=recall,
            moments=sum(each.moments for each in live),
            videos=len(live),
            files={name: (self.folder / name).stat().st_size for name in names},
        )
        # Ids are never reused, not even those of removed moments.
        done = replace(done, next_id=max(done.next_id, self.next_id))
        publish_generation(self.folder, done)
        return done
