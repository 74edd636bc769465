"""Builds a test set from annotation rows: each video or clip is one candidate, each row's sentence a query."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

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
    clips, captions, right = distinct_candidates(rows, keys)
    left_out = replace(unusable, sentences=annotated_sentences - len(rows))
    return EvaluationSet(name, clips, reader, captions, right, unusable=left_out, claim=claim)


def distinct_candidates(
    rows: Sequence[Clip], keys: Sequence[Hashable]
) -> tuple[list[Clip], tuple[str, ...], npt.NDArray[np.int64]]:
    """Return one clip for each distinct key, all captions in the order of the rows, and the right clip of each.

    A clip that were twice a candidate would tie with itself, and ties count against the model.
    """
    places: dict[Hashable, int] = {}
    right = [places.setdefault(key, len(places)) for key in keys]
    own: list[list[Clip]] = [[] for _ in places]
    for row, place in zip(rows, right, strict=True):
        own[place].append(row)
    clips = [replace(each[0], captions=tuple(said for row in each for said in row.captions)) for each in own]
    captions = tuple(said for row in rows for said in row.captions)
    counts = [len(row.captions) for row in rows]
    return clips, captions, np.repeat(np.array(right, np.int64), counts)
