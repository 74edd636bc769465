"""MSR-VTT: test sets with one or more sentences per video, and training on one of each video's captions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from reeldex.embedding.datasets.candidates import ranked_set
from reeldex.embedding.datasets.locations import require_vectors, required, required_file, whole_videos
from reeldex.embedding.datasets.options import MsrvttOptions
from reeldex.embedding.datasets.protocols import claimed, require_counts
from reeldex.embedding.datasets.readers import deduplicate_ids
from reeldex.embedding.datasets.records import Clip, ClipTrainingSet, EvaluationSet, exclude_unusable
from reeldex.embedding.datasets.rows import UsableRows, usable_rows
from reeldex.embedding.datasets.tables import Row, read_json, read_list, read_table
from reeldex.embedding.errors import DatasetError
from reeldex.storage.video_names import name_without_suffix

NAME = "msrvtt"
_Said = tuple[str, str]  # a video's id and a sentence
# The list of captions in a JSON file, and what its entries call video_id and caption.
_CAPTIONS: Mapping[str, Mapping[str, str]] = {
    "sentences": {"video_id": "video_id", "caption": "caption"},
    "annotations": {"image_id": "video_id", "video_id": "video_id", "caption": "caption"},
}


def open_training(options: MsrvttOptions) -> ClipTrainingSet:
    """Open the training set: each video with one of its captions, drawn again each epoch."""
    purpose = "Training on MSR-VTT"
    table = required(options.train_csv, "train_csv", purpose)
    sentences_file = required(options.train_json, "train_json", purpose)
    said = usable_rows(sentences_file, _caption_rows(sentences_file), _sentence("caption"))
    sentences = _by_video(said.rows)
    reader = whole_videos(options.features, options.train_features, "train_features", purpose)
    listed = _listed(table)

    def problem(video_id: str) -> str | None:
        return reader.problem(video_id) if video_id in sentences else f"{sentences_file} has no caption of it"

    left_out = {**listed.reasons, **said.reasons}
    unusable = exclude_unusable(NAME, listed.rows, problem, options.max_missing_share, left_out)
    videos = [video_id for video_id in listed.rows if video_id not in unusable.reasons]
    groups = [
        [Clip(clip_id, video_id, tuple(sentences[video_id]))]
        for clip_id, video_id in zip(deduplicate_ids(videos), videos, strict=True)
    ]
    return ClipTrainingSet(NAME, groups, reader, unusable=unusable)


def annotated_videos(options: MsrvttOptions) -> Iterator[str]:
    """Yield the video of each annotated training sample; raises DatasetError if a file is missing."""
    purpose = "Training on MSR-VTT"
    table = required_file(options.train_csv, "train_csv", purpose)
    required_file(options.train_json, "train_json", purpose)
    require_vectors(options.features, options.train_features, "train_features", purpose)
    yield from _listed(table).rows


def require_test_files(options: MsrvttOptions) -> None:
    """Raise DatasetError if a file of the test set is missing."""
    purpose = "Evaluating on MSR-VTT"
    required_file(options.test_csv, "test_csv", purpose)
    require_vectors(options.features, options.test_features, "test_features", purpose)


def open_evaluation(options: MsrvttOptions) -> EvaluationSet:
    """Open the test set: each video one candidate, each row a sentence that has to find its video."""
    purpose = "Evaluating on MSR-VTT"
    path = required(options.test_csv, "test_csv", purpose)
    videos, rows = _test_rows(path, options)
    claim = claimed(NAME, options.protocol, options.published_sha256)
    require_counts(NAME, claim.protocol, len(videos), rows.total, path)
    reader = whole_videos(options.features, options.test_features, "test_features", purpose)
    has_sentence = {video_id for video_id, _ in rows.rows}

    def problem(video_id: str) -> str | None:
        return reader.problem(video_id) if video_id in has_sentence else "its captions are missing"

    unusable = exclude_unusable(NAME, videos, problem, options.max_missing_share, rows.reasons)
    said = [
        Clip(video_id, video_id, (sentence,)) for video_id, sentence in rows.rows if video_id not in unusable.reasons
    ]
    return ranked_set(
        NAME,
        said,
        [each.video_id for each in said],
        reader,
        unusable=unusable,
        annotated_sentences=rows.total,
        claim=claim,
    )


def _listed(path: Path) -> UsableRows[str]:
    """Return the videos of a table, or of a list of ids, whose names may have a video file's extension."""
    ids = read_list(path, "video_id")
    if ids is None:
        return usable_rows(path, read_table(path, ["video_id"]), lambda row: row.text("video_id"))
    return UsableRows([name_without_suffix(row.text("video_id")) for row in ids], {})


def _test_rows(path: Path, options: MsrvttOptions) -> tuple[list[str], UsableRows[_Said]]:
    """Return the videos, and (video id, sentence) of a table, or of a list of ids with the captions of a JSON file."""
    listed = read_list(path, "video_id")
    if listed is None:
        said = usable_rows(path, read_table(path, ["video_id", "sentence"]), _sentence("sentence"))
        return list(dict.fromkeys(video_id for video_id, _ in said.rows)), said
    file = required(
        options.test_json or options.train_json, "test_json for the sentences of the videos in test_csv", "MSR-VTT"
    )
    videos = list(dict.fromkeys(name_without_suffix(row.text("video_id")) for row in listed))
    wanted = set(videos)
    rows = [row for row in _caption_rows(file) if str(row.values.get("video_id")) in wanted]
    found = usable_rows(file, rows, _sentence("caption"))
    sentences = _by_video(found.rows)
    # The published split 1k-B takes the first sentence of each video.
    most = 1 if options.protocol == "1k-B" else None
    ordered = [(video_id, each) for video_id in videos for each in sentences[video_id][:most]]
    return videos, UsableRows(ordered, found.reasons)


def _sentence(column: str) -> Callable[[Row], _Said]:
    return lambda row: (row.text("video_id"), row.text(column))


def _by_video(said: Sequence[_Said]) -> dict[str, list[str]]:
    sentences = defaultdict(list)
    for video_id, sentence in said:
        sentences[video_id].append(sentence)
    return sentences


def _caption_rows(path: Path) -> list[Row]:
    """Return the captions of a JSON file, the official one or MSR_VTT.json, as rows of video_id and caption."""
    held = read_json(path)
    for key, names in _CAPTIONS.items():
        entries = held.get(key) if isinstance(held, dict) else None
        if isinstance(entries, list):
            return [
                Row(path, 0, _values(entry, names), f"entry {number} of {key!r}")
                for number, entry in enumerate(entries)
            ]
    raise DatasetError(f"{path} must have a list under 'sentences', or under 'annotations' as MSR_VTT.json.")


def _values(entry: object, names: Mapping[str, str]) -> dict[str, object]:
    return {names[name]: value for name, value in entry.items() if name in names} if isinstance(entry, dict) else {}
