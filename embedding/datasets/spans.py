"""Annotation rows that describe spans of videos, as clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.readers import SpanReader, deduplicate_ids
from reeldex.embedding.datasets.rows import Row
from reeldex.embedding.features import FeatureSource


@dataclass(frozen=True, slots=True)
class AnnotatedSpan:
    """A text that describes a video from the start to the end of `span`, in seconds."""

    video_id: str
    span: tuple[float, float]
    text: str


def annotated_span(row: Row) -> AnnotatedSpan:
    """Return the span of a row with the columns video_id, start, end and text; raises RowError."""
    return AnnotatedSpan(row.text("video_id"), row.span("start", "end"), row.text("text"))


def span_clips(spans: Sequence[AnnotatedSpan], source: FeatureSource) -> tuple[list[Clip], SpanReader]:
    """Return a clip for each span, and the reader of their vectors."""
    ids = deduplicate_ids(f"{each.video_id}@{each.span[0]:g}-{each.span[1]:g}" for each in spans)
    clips = [Clip(clip_id, each.video_id, (each.text,)) for clip_id, each in zip(ids, spans, strict=True)]
    return clips, SpanReader(source, {clip_id: each.span for clip_id, each in zip(ids, spans, strict=True)})
