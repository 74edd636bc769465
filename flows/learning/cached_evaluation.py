"""An evaluation that is not repeated while its inputs are unchanged."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from reeldex.flows.learning.inputs import dataset_options
from reeldex.options import Options
from reeldex.storage.atomic import publish_text
from reeldex.storage.json_codec import AnyObject, Flag, Text, from_json, to_json

if TYPE_CHECKING:
    from reeldex.flows.learning.evaluation import EvaluationReport, EvaluationRequest


# How metrics are computed: cached results of another method are computed again.
_METHOD = "one candidate per video"


@dataclass(frozen=True)
class CachedEvaluation:
    """The result of an evaluation as a sentence, tables and JSON values; `up_to_date` if it comes from the cache."""

    sentence: Text
    tables: Text
    figures: Annotated[dict[str, Any], AnyObject]
    up_to_date: Flag = False

    @classmethod
    def of(cls, report: EvaluationReport) -> CachedEvaluation:
        """Return the result of a new report."""
        return cls(report.sentence(), str(report), report.to_json())


def cached_evaluation(
    note: Path, request: EvaluationRequest, evaluate: Callable[[EvaluationRequest], EvaluationReport]
) -> CachedEvaluation:
    """Return the result cached in `note` if the request and its files are unchanged; else evaluate."""
    signature = _signature(request)
    kept = _read(note, signature)
    if kept is not None:
        return kept
    answer = CachedEvaluation.of(evaluate(request))
    publish_text(note, json.dumps({"signature": signature, "answer": to_json(answer)}, indent=1))
    return answer


def _read(note: Path, signature: str) -> CachedEvaluation | None:
    try:
        cached = json.loads(note.read_text(encoding="utf-8"))
        if cached["signature"] != signature:
            return None
        return replace(from_json(CachedEvaluation, cached["answer"]), up_to_date=True)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # missing, or of another version: the evaluation is repeated


def _signature(request: EvaluationRequest) -> str:
    """Return a hash of the settings and of the names, sizes and times of the files that the metrics depend on."""
    config = request.config
    seen: list[object] = [
        _METHOD,
        config.evaluate.model_dump(mode="json"),
        config.words.model_dump(mode="json"),
        list(_looks(Path(request.checkpoint))),
        list(_looks(config.words.file)) if config.words.file else None,
    ]
    seen += [[dataset, *_looks_of_options(dataset_options(dataset, config))] for dataset in request.datasets]
    return hashlib.sha256(json.dumps(seen, default=str, sort_keys=True).encode()).hexdigest()


def _looks_of_options(options: Options) -> Iterator[object]:
    for name, value in options:
        if isinstance(value, Path):
            yield [name, *_looks(value)]
        elif isinstance(value, Options):
            yield [name, *_looks_of_options(value)]
        else:
            yield [name, value]


def _looks(path: Path) -> Iterator[object]:
    """Name, size and time of a file, or of all files in a folder."""
    if path.is_dir():
        files = sorted(Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    else:
        files = [path] if path.exists() else []
    yield str(path)
    for file in files:
        status = file.stat()
        yield [str(file), status.st_size, status.st_mtime_ns]
