"""The metrics of an evaluation in the Prefect UI and in the log of its run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from reeldex.flows.runs.artifacts import can_be_seen, publish_table

if TYPE_CHECKING:
    from reeldex.embedding.evaluation.tables import Table
    from reeldex.flows.learning.evaluation import EvaluationReport

log = logging.getLogger(__name__)


def publish_evaluation(report: EvaluationReport) -> None:
    """Publish the tables of an evaluation, with the paper's metrics for comparison, and log them."""
    if not can_be_seen():
        return  # the command prints the tables itself
    for table in report.tables():
        log.info("%s", table)
        publish_table(table_rows(table), " ".join([f"Figures: {table.title}.", *table.notes]))


def table_rows(table: Table) -> list[dict[str, str]]:
    """Return the rows of a table by its columns."""
    return [dict(zip(table.columns, (cell.strip() for cell in row), strict=True)) for row in table.rows]
