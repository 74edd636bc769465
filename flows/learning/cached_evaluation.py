"""An evaluation that is not repeated as long as nothing it depends on has changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reeldex.flows.learning.inputs import dataset_options
from reeldex.options import Options
from reeldex.storage.atomic import publish_text

if TYPE_CHECKING:
    from reeldex.flows.learning.evaluation import EvaluationReport, EvaluationRequest


# How figures are computed: what was kept of another way is computed anew.
_METHOD = "one candidate per video"


@dataclass(frozen=True)
class CachedEvaluation:
    """The answer of an evaluation: in a sentence, as tables, as JSON values; and whether it is an earlier one's."""

    sentence: str
    tables: str
    figures: dict[str, Any]
    up_to_date: bool = False

    @classmethod
    def of(cls, report: EvaluationReport) -> CachedEvaluation:
        """Take over a fresh report."""
        return cls(report.sentence(), str(report), report.to_json())


def cached_evaluation(
    note: Path, request: EvaluationRequest, evaluate: Callable[[EvaluationRequest], EvaluationReport]
) -> CachedEvaluation:
    """Return the answer that `note` keeps if it was given to the same request over the same files; else evaluate."""
    signature = _signature(request)
    kept = _read(note, signature)
    if kept is not None:
        return kept
    answer = CachedEvaluation.of(evaluate(request))
    publish_text(note, json.dumps({"signature": signature, "answer": asdict(answer)}, indent=1))
    return answer


def _read(note: Path, signature: str) -> CachedEvaluation | None:
    try:
        held = json.loads(note.read_text(encoding="utf-8"))
        if held["signature"] != signature:
            return None
        return CachedEvaluation(**{**held["answer"], "up_to_date": True})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # no such note, or one of another version: the evaluation is repeated


def _signature(request: EvaluationRequest) -> str:
    """Return a hash of the settings and of how the files look that the figures depend on."""
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
