"""SearchIndex: search for moments that match a sentence, or for moments similar to another."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import numpy as np

from reeldex.embedding.words.vectors import WordVectors
from reeldex.search.ann_index import AnnIndex
from reeldex.search.errors import IndexClosedError, IndexDamagedError, QueryError, UnknownWordsError
from reeldex.search.generation import Generation, read_generation, require_files
from reeldex.search.merging import merge_overlapping
from reeldex.search.moment_table import Floats, Ids, MomentTable
from reeldex.search.origin import load_recorded, recorded_words, require_checkpoint, require_words, space_names
from reeldex.search.ranking import Ranked, Ranker
from reeldex.search.results import IndexedVideo, IndexInfo, Moment, SearchResults
from reeldex.search.sentences import SentenceTower, cached_text_tower
from reeldex.search.video_records import VideoRecord
from reeldex.search.videos_file import read_videos
from reeldex.storage.video_names import name_without_suffix

LONGEST_QUERY = 1_000
"""Maximum length of a sentence or a pattern, in characters."""
MOST_RESULTS = 1_000

_ATTEMPTS = 5


@dataclass(frozen=True)
class _Sought:
    """A resolved query: the `count` moments nearest to `query` (D,), among `among` if given, except `but`."""

    query: Floats
    count: int
    merge: bool
    among: Ids | None
    but: Moment | None = None


class SearchIndex:
    """An open index: a snapshot of one published state; `refreshed` returns the current state.

    Thread-safe. A context manager. Moments are ordered by score, best first; equal scores by video id and time.
    """

    def __init__(
        self, path: Path, generation: Generation, table: MomentTable, ann_index: AnnIndex, sentences: SentenceTower
    ) -> None:
        self.path = path
        self._generation = generation
        self._sentences = sentences
        ranker = Ranker(table, ann_index, generation.options.rerank_candidates, generation.ann_index.nprobe)
        self._open_parts: tuple[MomentTable, Ranker] | None = (table, ranker)
        self._given: tuple[Path | None, WordVectors | None] = (None, None)

    @classmethod
    def open(
        cls, path: str | Path, *, checkpoint: Path | None = None, word_vectors: WordVectors | None = None
    ) -> SearchIndex:
        """Open an index with the checkpoint and word vectors that it was made with, wherever they are stored now.

        Raises IndexNotFoundError, IndexDamagedError, IndexUnreadableError; IndexMismatchError for another checkpoint or
        other word vectors; EmbeddingError when those cannot be read.
        """
        folder = Path(path)
        for attempt in range(_ATTEMPTS):
            generation = read_generation(folder)
            try:
                require_files(folder, generation)
                records = read_videos(folder, generation)
                table = MomentTable.open(folder, generation, records)
                ann_index = AnnIndex.load(folder, generation.ann_index)
                break
            except (IndexDamagedError, FileNotFoundError):
                # A build that has just been published removes the files of the previous state.
                if attempt == _ATTEMPTS - 1 or read_generation(folder) == generation:
                    raise
        inputs = generation.inputs
        file = require_checkpoint(folder, inputs, checkpoint)
        words = require_words(folder, inputs, word_vectors or recorded_words(folder, Path(inputs.words_cache)))
        sha256 = inputs.checkpoint.sha256
        tower = functools.partial(cached_text_tower, sha256, lambda: load_recorded(folder, inputs, file))
        sentences = SentenceTower(tower, words)
        index = cls(folder, generation, table, ann_index, sentences)
        index._given = (checkpoint, word_vectors)
        return index

    def close(self) -> None:
        """Release the files; using the index afterwards raises IndexClosedError, closing it again does nothing."""
        self._open_parts = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def search(self, sentence: str, k: int = 10, *, merge: bool = True, videos: str | None = None) -> SearchResults:
        """Return the `k` moments that match a sentence best.

        With `merge`, no two results overlap (see `merging.merge_overlapping`). `videos` is a shell pattern on ids, such
        as cooking/*; it is case-sensitive. Fewer than `k` are returned only if there are no more. Raises QueryError for
        a sentence without a known word, one that is too long, a pattern that no video matches, an invalid `k`.
        """
        self._require_open()
        _require_length("query", sentence)
        unknown = self._sentences.unknown(sentence)
        if not self._sentences.knows(sentence):
            if not unknown:
                raise QueryError(f"The query {sentence[:100]!r} has no words. Type a few.")
            named = ", ".join(map(repr, unknown[:10]))
            raise UnknownWordsError(f"No results: none of these words are in the vocabulary: {named}. Use other words.")
        among = self._among(videos)
        sought = _Sought(self._sentences.embed([sentence])[0], _checked_count(k), merge, among)
        return SearchResults(tuple(self._answers(sought)), unknown, sentence)

    def like(
        self, video_id: str, at_seconds: float, k: int = 10, *, merge: bool = True, videos: str | None = None
    ) -> SearchResults:
        """Return the `k` moments most similar to the one of a video at a time, which is not among the results.

        The moment whose middle is nearest to the time is used. With `merge`, what overlaps it is left out too. The
        video is given by its id, or by its id without folders and extension if that is unambiguous. Otherwise as
        `search`. Raises QueryError for an unknown video, and for a time outside it.
        """
        self._require_open()
        record = self._video(video_id)
        if not 0 <= at_seconds <= record.duration_seconds:
            raise QueryError(
                f"The video {record.video_id!r} lasts {record.duration_seconds:.1f} seconds and has no moment at "
                f"{at_seconds:g}. Give a time between."
            )
        windows = self._table.windows(record)
        nearest = min(
            range(len(windows)),
            key=lambda at: abs(windows[at].start_seconds + windows[at].end_seconds - 2 * at_seconds),
        )
        moment_id = record.first_id + nearest
        query = self._table.embeddings(np.array([moment_id], dtype=np.int64))[0].astype(np.float32)
        sought = _Sought(query, _checked_count(k), merge, self._among(videos), self._moment(moment_id, 1.0))
        return SearchResults(tuple(self._answers(sought)), (), f"like {record.video_id}@{at_seconds:g}")

    def videos(self) -> Mapping[str, IndexedVideo]:
        """Return all videos by id, sorted by id."""
        self._require_open()
        return self._videos

    @functools.cached_property
    def _videos(self) -> Mapping[str, IndexedVideo]:
        found = {
            record.video_id: IndexedVideo(record.video_id, record.path, record.duration_seconds, record.moments)
            for record in self._table.records.chosen(self._table.by_video_id)
        }
        return MappingProxyType(found)

    def refreshed(self) -> SearchIndex:
        """Return this index if it is still the published one, else a newly opened one; raises as `open` does."""
        self._require_open()
        if read_generation(self.path) == self._generation:
            return self
        checkpoint, words = self._given
        return SearchIndex.open(self.path, checkpoint=checkpoint, word_vectors=words)

    def about(self) -> IndexInfo:
        """Return a description of the index."""
        generation = self._generation
        return IndexInfo(
            path=str(self.path),
            moments=generation.moments,
            videos=generation.videos,
            store=generation.inputs.store,
            shards=tuple(np.unique(self._table.records.numbers("shard")).tolist()),
            checkpoint=generation.inputs.checkpoint.path,
            checkpoint_sha256=generation.inputs.checkpoint.sha256,
            word_vectors=generation.inputs.words_cache,
            word_vectors_sha256=generation.inputs.words_sha256,
            spaces=space_names(generation.inputs.spaces),
            factory=generation.ann_index.factory,
            exact=generation.ann_index.exact,
            nprobe=generation.ann_index.nprobe,
            embed_dim=generation.inputs.embed_dim,
            searched_dim=generation.ann_index.dim,
            recall_at_10=generation.recall.at_10,
            recall_sample=generation.recall.sample,
            recall_queries=generation.recall.queries,
            created=generation.created,
            generation=generation.number,
            size_bytes=generation.size_bytes,
        )

    def _require_open(self) -> tuple[MomentTable, Ranker]:
        if self._open_parts is None:
            raise IndexClosedError(f"The index {self.path} was closed. Open it again with SearchIndex.open.")
        return self._open_parts

    @property
    def _table(self) -> MomentTable:
        return self._require_open()[0]

    @property
    def _ranker(self) -> Ranker:
        return self._require_open()[1]

    def _answers(self, sought: _Sought) -> list[Moment]:
        """Widen the search until there are enough results."""
        widened = 0
        while True:
            ranked = self._ranker.best(sought.query, sought.count + 1, widened, sought.among)
            looked_at: list[Moment] = []
            answers = self._merged(ranked, sought, looked_at)
            found = len(answers) == sought.count and self._ranker.enough(ranked, len(looked_at))
            if ranked.complete or found:
                return answers
            widened += 1

    def _merged(self, ranked: Ranked, sought: _Sought, looked_at: list[Moment]) -> list[Moment]:
        moments = self._moments(ranked, sought.but, looked_at)
        if sought.merge:
            return merge_overlapping(moments, sought.count, [sought.but] if sought.but else [])
        return [moment for moment, _ in zip(moments, range(sought.count), strict=False)]

    def _moments(self, ranked: Ranked, but: Moment | None, looked_at: list[Moment]) -> Iterator[Moment]:
        for moment_id, score in zip(ranked.ids.tolist(), ranked.scores.tolist(), strict=True):
            if but is None or moment_id != but.moment_id:
                looked_at.append(self._moment(moment_id, score))
                yield looked_at[-1]

    def _moment(self, moment_id: int, score: float) -> Moment:
        record, window = self._table.window(moment_id)
        return Moment(
            moment_id=moment_id,
            video_id=record.video_id,
            path=record.path,
            start_seconds=window.start_seconds,
            end_seconds=window.end_seconds,
            score=score,
            caption=window.caption,
        )

    def _among(self, pattern: str | None) -> Ids | None:
        """Return the ids of the moments of the videos that match a pattern, None without one."""
        if pattern is None:
            return None
        _require_length("pattern", pattern)
        # As fnmatch.fnmatchcase, compiled once for all ids.
        matches = re.compile(fnmatch.translate(pattern)).match
        places = [at for at, video_id in enumerate(self._table.records.texts("video_id")) if matches(video_id)]
        if not places:
            raise QueryError(
                f"No video of the index has an id like {pattern!r}. * stands for any letters, ? for one, [ab] for a or "
                "b, [[] for [ itself; capitals count."
            )
        return self._table.ids(places)

    def _video(self, video_id: str) -> VideoRecord:
        records = self._table.records
        if (exact := self._table.find(video_id)) is not None:
            return records[exact]
        video_ids = list(records.texts("video_id"))
        places = [at for at, known in enumerate(video_ids) if name_without_suffix(known) == video_id]
        if len(places) == 1:
            return records[places[0]]
        if places:
            known = ", ".join(sorted(video_ids[at] for at in places)[:3])
            raise QueryError(f"Several videos are called {video_id!r}: {known}. Use the full id.")
        near = difflib.get_close_matches(video_id[:LONGEST_QUERY], video_ids, n=3)
        meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise QueryError(f"The index has no video {video_id[:100]!r}.{meant}")


def _checked_count(k: int) -> int:
    if not 1 <= k <= MOST_RESULTS:
        raise QueryError(f"Between 1 and {MOST_RESULTS} moments can be requested, not {k}.")
    return k


def _require_length(what: str, text: str) -> None:
    if len(text) > LONGEST_QUERY:
        raise QueryError(f"The {what} has {len(text)} characters; at most {LONGEST_QUERY} are allowed. Shorten it.")
