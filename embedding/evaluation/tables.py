"""Results of an evaluation for people and programs: a table, JSON, the first answers to each sentence."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reeldex.embedding.datasets.captions import NAME as OWN_CAPTIONS
from reeldex.embedding.datasets.protocols import PROTOCOLS
from reeldex.embedding.datasets.records import EvaluationSet
from reeldex.embedding.datasets.unusable import UnusableVideos
from reeldex.embedding.evaluation.evaluate import DIRECTIONS, DirectionResult, Result, Scores, SetResult
from reeldex.embedding.evaluation.localization import LocalizationResult, localization_json
from reeldex.embedding.evaluation.metrics import RECALL_AT, Interval, RetrievalMetrics, top_k
from reeldex.embedding.evaluation.published_results import PUBLISHED_RESULTS, PublishedResult, published_results
from reeldex.embedding.multi_instance import FIGURES
from reeldex.quantities import counted
from reeldex.storage.atomic import publish, publish_text
from reeldex.storage.json_codec import to_json
from reeldex.storage.schema import JSON

_RANKING_COLUMNS = ("sentence", "caption", "rank", "clip_id", "score", "right")
_RETRIEVAL_COLUMNS = ("test set", "direction", "R@1", "R@5", "R@10", "median rank", "queries")
_GRADED_COLUMNS = ("test set", "direction", "mAP", "binary mAP", "nDCG", "queries")
_WORDS = {"text_to_video": "text to video", "video_to_text": "video to text"}


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, rows of texts under columns, and notes below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.columns))]
        # Texts are left-aligned, numbers right-aligned.
        shown = [
            "  ".join(
                cell.ljust(width) if at < 2 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, shown[0], "-" * len(shown[0]), *shown[1:], *self.notes])


def retrieval_table(results: Sequence[SetResult], title: str = "Retrieval") -> Table:
    """Return recalls in per cent with 95 % intervals and median ranks as a table, with the paper's for comparison."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for result in results:
        for name in DIRECTIONS:
            held = result.directions[name]
            rows.append((result.name, _WORDS[name], *_cells(held.retrieval, held.intervals)))
        published = _comparable(result)
        rows += [(result.name, f"  published: {each.trained_on}", *_published_cells(each)) for each in published]
        notes += _notes(result)
    return Table(title, _RETRIEVAL_COLUMNS, tuple(rows), tuple(notes))


def set_in_words(result: SetResult) -> str:
    """Return a test set's protocol and size, such as `protocol 1k-A, 1000 videos, 1000 sentences`."""
    identity = result.identity
    named = identity.protocol or " or ".join(identity.possible)
    unnamed = "own captions, no published protocol" if result.name == OWN_CAPTIONS else "no named protocol"
    protocol = f"protocol {named}" if named else unnamed
    candidates = counted(result.clip_count, "video" if result.name == "msrvtt" else "clip")
    return f"{protocol}, {candidates}, {counted(result.sentence_count, 'sentence')}"


def figures_in_words(result: SetResult) -> str:
    """Return protocol, size and recalls of both directions in a sentence without its full stop."""
    said = []
    for name in DIRECTIONS:
        figures = result.directions[name].retrieval
        recalls = (figures.recall_at_1, figures.recall_at_5, figures.recall_at_10)
        shown = ", ".join(f"R@{k} {100 * recall:.1f}" for k, recall in zip(RECALL_AT, recalls, strict=True))
        said.append(f"{_WORDS[name]}: {shown}, median rank {figures.median_rank:g}")
    return f"{result.name} ({set_in_words(result)}), {'; '.join(said)}"


def _notes(result: SetResult) -> list[str]:
    """Return the notes on a test set that its figures need."""
    identity = result.identity
    known = ", the published set" if identity.published else ""
    notes = [f"{result.name}: {set_in_words(result)}{known}; SHA-256 of the set {identity.sha256}."]
    if result.coverage is not None:
        notes.append(f"{result.name}: {result.coverage}.")
    if not result.unusable.complete:
        unlike = ", so this is not the published protocol" if result.name in PROTOCOLS else ""
        notes.append(f"{result.name}: {_left_out(result.unusable)} could not be used{unlike}.")
    elif identity.stated_sha256 not in {None, identity.sha256}:
        notes.append(
            f"{result.name}: this is not the published set; its SHA-256 is stated as {identity.stated_sha256}."
        )
    elif why := _why_alone(result):
        notes.append(f"{result.name}: {why}")
    return notes


def _left_out(unusable: UnusableVideos) -> str:
    """Return what was left out of a set, such as `2 videos and 8 sentences`."""
    counts = (
        (len(unusable.reasons), "video", ""),
        (len(unusable.clips), "clip", " of other videos"),
        (unusable.sentences, "sentence", ""),
        (len(unusable.rows), "annotation row", ""),
    )
    said = [f"{counted(count, name)}{of}" for count, name, of in counts if count]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def _why_alone(result: SetResult) -> str | None:
    """Return why the paper's figures are not shown for a complete set; None when they are or do not exist."""
    published = next((each for each in PUBLISHED_RESULTS if each.test_set == result.name), None)
    if published is None or _comparable(result):
        return None
    identity = result.identity
    if published.protocol not in {identity.protocol, *identity.possible}:
        return (
            f"published figures are of protocol {published.protocol}, over "
            f"{counted(published.query_count, 'sentence')}: they cannot be compared."
        )
    return (
        "published figures are left out, since nothing shows that this is the published set. If you know that it is, "
        f"state it: protocol {published.protocol} and published_sha256 (docs/datasets.md)."
    )


def _comparable(result: SetResult) -> tuple[PublishedResult, ...]:
    """Return the comparable published figures: those on exactly this test set."""
    if not (result.identity.published and result.unusable.complete):
        return ()
    return published_results(result.name, result.identity.protocol)


def _cells(figures: RetrievalMetrics, intervals: Mapping[str, Interval], prefix: str = "") -> tuple[str, ...]:
    recalls = [
        f"{100 * value:.1f}{_interval(intervals.get(prefix + name), 100)}"
        for name, value in (
            ("recall_at_1", figures.recall_at_1),
            ("recall_at_5", figures.recall_at_5),
            ("recall_at_10", figures.recall_at_10),
        )
    ]
    median = f"{figures.median_rank:g}{_interval(intervals.get(prefix + 'median_rank'), 1)}"
    return (*recalls, median, str(figures.query_count))


def _interval(interval: Interval | None, scale: float) -> str:
    if interval is None:
        return ""
    low, high = scale * interval.low, scale * interval.high
    return f" [{low:.1f}, {high:.1f}]" if scale != 1 else f" [{round(low, 1):g}, {round(high, 1):g}]"


def _published_cells(result: PublishedResult) -> tuple[str, ...]:
    recalls = (result.recall_at_1, result.recall_at_5, result.recall_at_10)
    return (*(f"{value:.1f}" for value in recalls), f"{result.median_rank:g}", str(result.query_count))


def further_tables(results: Sequence[SetResult]) -> list[Table]:
    """Return the ranks of verb classes, and mAP and nDCG, as tables, for the sets that have them."""
    classes: list[tuple[str, ...]] = []
    graded: list[tuple[str, ...]] = []
    for result in results:
        for direction in DIRECTIONS:
            held = result.directions[direction]
            if held.by_class is not None:
                cells = _cells(held.by_class, held.intervals, "class/")
                classes.append((result.name, _WORDS[direction], *cells))
            if (several := held.multi_instance) is not None:
                named = ((name, getattr(several, name)) for name in FIGURES)
                shown = [
                    f"{100 * value:.1f}{_interval(held.intervals.get(f'multi_instance/{name}'), 100)}"
                    for name, value in named
                ]
                graded.append((result.name, _WORDS[direction], *shown, str(several.query_count)))
    tables = []
    if classes:
        tables.append(Table("Rank of the right class", _RETRIEVAL_COLUMNS, tuple(classes)))
    if graded:
        tables.append(Table("Multi-instance retrieval", _GRADED_COLUMNS, tuple(graded)))
    return tables


def report_json(results: Iterable[Result], about: dict[str, JSON]) -> dict[str, JSON]:
    """Return all figures, intervals and comparable published figures as JSON; `about` describes the evaluation."""
    sets: dict[str, JSON] = {}
    for result in results:
        if isinstance(result, LocalizationResult):
            sets[result.name] = localization_json(result)
            continue
        sets[result.name] = {
            "protocol": result.identity.protocol,
            "possible_protocols": list(result.identity.possible),
            "sha256": result.identity.sha256,
            "is_published_set": result.identity.published,
            "clips": result.clip_count,
            "sentences": result.sentence_count,
            "unusable_videos": len(result.unusable.reasons),
            "unusable_clips": len(result.unusable.clips),
            "unusable_sentences": result.unusable.sentences,
            "unusable_rows": len(result.unusable.rows),
            "words": None if result.coverage is None else result.coverage.to_json(),
            "directions": {name: _direction_json(held) for name, held in result.directions.items()},
            "published": [to_json(each) for each in _comparable(result)],
        }
    return {**about, "sets": sets}


def _direction_json(result: DirectionResult) -> dict[str, JSON]:
    found: dict[str, JSON] = {
        "retrieval": result.retrieval.to_json(),
        "intervals_95": {name: [each.low, each.high] for name, each in result.intervals.items()},
    }
    if result.by_class is not None:
        found["by_class"] = result.by_class.to_json()
    if result.multi_instance is not None:
        found["multi_instance"] = result.multi_instance.to_json()
    return found


def save_report(path: Path, results: Iterable[Result], about: dict[str, JSON]) -> None:
    """Publish `report_json` as a file."""
    publish_text(path, json.dumps(report_json(results, about), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def save_ranking(path: Path, scores: Scores, test_set: EvaluationSet, k: int) -> None:
    """Publish the k best clips of each sentence as csv, one row each, best first: UTF-8, ranks from 1.

    The rank of the right clip is the one that the figures count: behind all wrong ones with its score.
    """
    columns, values = top_k(scores, k, test_set.right_clips)
    with publish(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_RANKING_COLUMNS)
        for number, caption in enumerate(test_set.captions):
            for at, (column, value) in enumerate(zip(columns[number].tolist(), values[number].tolist(), strict=True)):
                clip = test_set.clips[column]
                right = int(column == test_set.right_clips[number])
                writer.writerow((number, caption, at + 1, clip.clip_id, f"{value:.6f}", right))
