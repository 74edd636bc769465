"""Merges overlapping moments of one video into one result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reeldex.search.results import Moment


def merge_overlapping(ranked: Iterable[Moment], count: int, taken: Iterable[Moment] = ()) -> list[Moment]:
    """Return up to `count` moments, no two of which overlap, of moments in the order of their rank.

    Of the first `count`, those that overlap become one, from the first start to the last end, with the id, score and
    caption of the best. The places that this frees go to the next best that overlap none of the answers, so an
    answer never spans more than `count` moments, however many similar ones a video has. What overlaps one of `taken`
    is left out.
    """
    # For each usable moment in the order of rank; the tests have the same rows:
    #
    #   rank      answers   overlaps             effect
    #   >= count  complete  -                    end
    #   any       any       no answer            a new answer
    #   < count   any       one answer           lengthens it
    #   < count   any       several answers      joins them into the best of them
    #   >= count  any       some answer          left out: it only fills a freed place
    kept = list(taken)
    usable = (moment for moment in ranked if not any(moment.overlaps(other) for other in kept))
    groups: list[Moment] = []
    for rank, moment in enumerate(usable):
        if rank >= count and len(groups) >= count:
            break
        touching = [at for at, group in enumerate(groups) if group.overlaps(moment)]
        if not touching:
            groups.append(moment)
        elif rank < count:
            joined = [groups[at] for at in touching] + [moment]
            first, last = min(each.start_seconds for each in joined), max(each.end_seconds for each in joined)
            groups[touching[0]] = replace(joined[0], start_seconds=first, end_seconds=last)
            for at in reversed(touching[1:]):
                del groups[at]
    return groups[:count]
