"""Builds a test set from annotation rows: each video or clip is one candidate, each row's sentence a query."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.protocols import ProtocolClaim
from reeldex.embedding.datasets.records import ClipReader, EvaluationSet
from reeldex.embedding.datasets.unusable import UnusableVideos


def ranked_set(  # noqa: PLR0913 - the rows, what they are of, and what is known of the whole set
    name: str,
    rows: Sequence[Clip],
    keys: Sequence[Hashable],
    reader: ClipReader,
    *,
    unusable: UnusableVideos,
    annotated_sentences: int,
    claim: ProtocolClaim,
) -> EvaluationSet:
    """Return the test set of usable rows, each a clip with one sentence; those with equal keys are one candidate.

    Candidates are in the order of their first row and have its clip's id; sentences are in the order of the rows.
    Of the `annotated_sentences`, those without a row here are counted as left out.
    """
    places: dict[Hashable, int] = {}
    right = [places.setdefault(key, len(places)) for key in keys]
    own: list[list[Clip]] = [[] for _ in places]
    for row, place in zip(rows, right, strict=True):
        own[place].append(row)
    clips = [replace(each[0], captions=tuple(row.captions[0] for row in each)) for each in own]
    captions = tuple(row.captions[0] for row in rows)
    left_out = replace(unusable, sentences=annotated_sentences - len(rows))
    return EvaluationSet(name, clips, reader, captions, np.array(right, np.int64), unusable=left_out, claim=claim)
