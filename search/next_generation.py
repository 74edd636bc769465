"""The next state of an index: embed what is new, update the FAISS index, measure the recall, publish."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from reeldex.embedding.features import StoreFeatures
from reeldex.embedding.training.checkpoint import Checkpoint, load_checkpoint
from reeldex.search.ann_index import AnnIndex, build_ann_index, choose_factory, why_rebuild
from reeldex.search.compaction import compact, needs_compaction
from reeldex.search.embed import Embedded, NewSegment, Progress, VideoEmbedder
from reeldex.search.errors import NothingToIndexError
from reeldex.search.generation import (
    AnnIndexRecord,
    Generation,
    IndexInputs,
    Recall,
    ann_index_files,
    publish_generation,
    segment_files,
)
from reeldex.search.moment_table import MomentTable
from reeldex.search.recall import draw_sample, settle_nprobe
from reeldex.search.request import IndexRequest
from reeldex.search.segments import open_segment
from reeldex.search.sentences import SentenceTower, text_tower
from reeldex.search.store_videos import Changes
from reeldex.search.tower import VideoTower
from reeldex.search.video_records import VideoRecord, VideoRecords
from reeldex.search.videos_file import videos_file, write_videos

log = logging.getLogger(__name__)

_RECALL_LOST = 0.05


@dataclass(frozen=True)
class Intact:
    """The current index, all files of which could be opened."""

    state: Generation
    records: VideoRecords
    ann_index: AnnIndex


@dataclass(frozen=True)
class Build:
    """The state of one build: `current` is the index in use, `base` the same if it can be extended."""

    request: IndexRequest
    source: StoreFeatures
    inputs: IndexInputs
    read_checkpoint: Checkpoint | None
    current: Generation | None
    base: Intact | None

    @property
    def _folder(self) -> Path:
        return self.request.out

    @property
    def _number(self) -> int:
        return self.current.number + 1 if self.current else 1

    @property
    def _next_segment(self) -> int:
        return max(self.current.rows, default=0) + 1 if self.current else 1

    @property
    def _next_id(self) -> int:
        return self.current.next_id if self.current else 0

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return self.read_checkpoint or load_checkpoint(self.request.checkpoint)

    def embed(self, changes: Changes, progress: Progress | None) -> Embedded:
        """Write the embeddings of new and changed videos; raises NothingToIndexError if nothing can be indexed."""
        videos = len(changes.added) + len(changes.changed)
        if not videos:
            return Embedded()
        options = self.request.options
        tower = VideoTower(self._checkpoint.model(), options.batch_size, options.device)
        embedder = VideoEmbedder(self.source, tower, options, self.request.captions)
        target = NewSegment(self._folder, self._next_segment, self._next_id, self.inputs.embed_dim)
        embedded = embedder.write(chain(changes.added, changes.changed), videos, target, progress)
        if not embedded.records and not changes.kept:
            raise NothingToIndexError(
                f"None of the {videos} videos can be indexed, the first because of this: "
                f"{next(iter(embedded.failed.values()))}"
            )
        return embedded

    def publish(
        self, kept: VideoRecords, gone: Sequence[VideoRecord], embedded: Embedded
    ) -> tuple[Generation, tuple[str, ...]]:
        """Publish the new state, without what is gone; return it and the notes for the report."""
        notes: list[str] = []
        live = _joined(kept, embedded.records)
        rows = self._rows(live, embedded)
        table = self._table(live, rows)
        if needs_compaction(rows, len(table)):
            notes.append(f"{len(rows)} segments with {sum(rows.values())} rows became one of {len(table)}")
            # Beyond the segments of the current index, too: a kill must leave those as they are.
            number = max(*rows, self._next_segment) + 1
            live = compact(table, self._folder, number)
            rows = {number: len(table)}
            table = self._table(live, rows)
        ann_index, why = self._ann_index(table, gone)
        sentences = SentenceTower(lambda: text_tower(self._checkpoint), self.request.words)
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

    def _rows(self, live: VideoRecords, embedded: Embedded) -> dict[int, int]:
        """Return the row counts of the segments that still have moments in use."""
        rows = {**(self.base.state.rows if self.base else {}), self._next_segment: embedded.moments}
        used = set(np.unique(live.numbers("segment")).tolist())
        return {number: count for number, count in rows.items() if number in used}

    def _table(self, live: VideoRecords, rows: dict[int, int]) -> MomentTable:
        dim = self.inputs.embed_dim
        return MomentTable(live, {at: open_segment(self._folder, at, count, dim) for at, count in rows.items()}, dim)

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
        for ids, block in table.blocks(self._next_id):
            ann_index.add(ids, block)
        return ann_index, None

    def _write(  # noqa: PLR0913 - the parts of one state, half of them by keyword
        self,
        live: VideoRecords,
        rows: dict[int, int],
        ann_index: AnnIndex,
        *,
        replace_number: bool,
        nprobe: int,
        recall: Recall,
    ) -> Generation:
        kept = self.base.state.ann_index.number if self.base and not replace_number else None
        record = AnnIndexRecord(
            number=kept or self._number,
            factory=ann_index.factory,
            exact=ann_index.exact,
            trained_on=ann_index.trained_on,
            nprobe=nprobe,
            dim=ann_index.dim,
        )
        if kept is None:
            ann_index.save(self._folder, record.number)
        write_videos(self._folder, self._number, live)
        names = [videos_file(self._number), *ann_index_files(record.number, exact=record.exact)]
        names += [name for number in rows for name in segment_files(number)]
        done = Generation(
            number=self._number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            inputs=self.inputs,
            options=self.request.options,
            next_id=live[-1].first_id + live[-1].moments if live else self._next_id,
            rows=rows,
            ann_index=record,
            recall=recall,
            moments=int(live.numbers("moments").sum()),
            videos=len(live),
            files={name: (self._folder / name).stat().st_size for name in names},
        )
        # Ids are never reused, not even those of removed moments.
        done = replace(done, next_id=max(done.next_id, self._next_id))
        publish_generation(self._folder, done)
        return done


def _joined(kept: VideoRecords, new: VideoRecords) -> VideoRecords:
    """Return records with those of new videos, whose moments have the higher ids."""
    return VideoRecords(chain(kept, new)) if kept and new else kept or new
