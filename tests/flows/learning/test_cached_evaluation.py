"""An evaluation is repeated when something that its figures depend on has changed, and not otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.learning import cached_evaluation as module
from reeldex.flows.learning.cached_evaluation import cached_evaluation
from reeldex.flows.learning.evaluation import EvaluationReport, EvaluationRequest


class _Report:
    """Stands for a report, of which the note keeps only what these say."""

    def sentence(self) -> str:
        return "said"

    def to_json(self) -> dict[str, Any]:
        return {"sets": {}}


def evaluations(folder: Path, configs: list[PipelineConfig]) -> list[bool]:
    """Ask for the same evaluation under these configurations, one after the other: which were computed."""
    done = []
    for config in configs:
        request = EvaluationRequest(str(folder / "none.pth"), ("msrvtt",), config)
        answer = cached_evaluation(folder / "note.json", request, lambda _: cast("EvaluationReport", _Report()))
        done.append(not answer.up_to_date)
    return done


def test_a_claim_about_the_test_set_is_one_of_the_things_it_depends_on(tmp_path: Path) -> None:
    plain = PipelineConfig()
    claim = {"protocol": "1k-A", "published_sha256": "ab" * 32}
    claimed = parse_config({"datasets": {"msrvtt": claim}}, "test")
    assert evaluations(tmp_path, [plain, plain, claimed, claimed, plain]) == [True, False, True, False, True]


def test_figures_that_were_computed_another_way_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(module, "_METHOD", "each row a candidate")
        assert evaluations(tmp_path, [PipelineConfig()]) == [True]
    assert evaluations(tmp_path, [PipelineConfig(), PipelineConfig()]) == [True, False]


@pytest.mark.parametrize("damage", [{"figures": "none"}, {"sentence": 1}, {"up_to_date": "no"}])
def test_a_note_with_fields_of_other_types_is_not_kept(tmp_path: Path, damage: dict[str, object]) -> None:
    assert evaluations(tmp_path, [PipelineConfig()]) == [True]
    note = tmp_path / "note.json"
    content = json.loads(note.read_text(encoding="utf-8"))
    content["answer"].update(damage)
    note.write_text(json.dumps(content), encoding="utf-8")
    assert evaluations(tmp_path, [PipelineConfig(), PipelineConfig()]) == [True, False]
