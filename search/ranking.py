"""Ranks candidates of the FAISS index by their exact scores for a query."""

from __future__ import annotations

from dataclasses import dataclass

from reeldex.search.ann_index import AnnIndex
from reeldex.search.moment_table import Floats, Ids, MomentTable

_TIED = 1e-6
_WIDER = 4
_EXACTLY_AMONG = 50_000


@dataclass(frozen=True, slots=True)
class Ranked:
    """Moments, best first, with their exact scores; `complete` when there are no more."""

    ids: Ids
    scores: Floats
    complete: bool

    def settled(self, count: int) -> bool:
        """Return whether more candidates could not change which moments tie for the first `count` places."""
        return self.complete or (len(self.ids) > count and self.scores[-1] < self.scores[count - 1] - _TIED)


@dataclass(frozen=True, slots=True)
class Ranker:
    """Ranks the moments of a table; `candidates` and `nprobe` are the initial search width."""

    table: MomentTable
    ann_index: AnnIndex
    candidates: int
    nprobe: int

    def best(self, query: Floats, count: int, widened: int = 0, among: Ids | None = None) -> Ranked:
        """Rank at least `count` moments, if there are as many, for a query (D,), or those `among`, ids ascending.

        Looked at are the candidates and lists of the configuration, `widened` times four times as many. Few moments
        `among` which to choose are all looked at.
        """
        if among is not None and len(among) <= max(_EXACTLY_AMONG, self.candidates):
            return self._ranked(query, among, complete=True)
        available = len(self.table) if among is None else len(among)
        wanted = min(available, max(self.candidates, 2 * count) * _WIDER**widened)
        nprobe = self.nprobe * _WIDER**widened
        if among is not None:
            # The matching moments are rarer in each list by this factor.
            nprobe = -(-nprobe * len(self.table) // len(among))
        ids = self.ann_index.candidates(query, wanted, nprobe, among)
        everywhere = not self.ann_index.nlist or nprobe >= self.ann_index.nlist
        return self._ranked(query, ids, complete=everywhere and wanted >= available)

    def first(self, query: Floats, count: int) -> tuple[Ids, Floats]:
        """Return the ids and scores of the best `count` moments, as a search without merging does."""
        widened = 0
        while not self.enough(ranked := self.best(query, count, widened), count):
            widened += 1
        return ranked.ids[:count], ranked.scores[:count]

    def enough(self, ranked: Ranked, count: int) -> bool:
        """Return whether a ranking gives the first `count` moments, as surely as the FAISS index can."""
        if self.ann_index.exact:
            return ranked.settled(count)
        return ranked.complete or len(ranked.ids) >= count

    def _ranked(self, query: Floats, ids: Ids, *, complete: bool) -> Ranked:
        scores = self.table.scores(query, ids)
        order = self.table.ranked(ids, scores)
        return Ranked(ids[order], scores[order], complete)
