"""The final state of a flow run, and its message."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from prefect.states import Completed, Failed

from reeldex.errors import InfrastructureError, UserError
from reeldex.flows.execution.errors import InternalError, RunStoppedError
from reeldex.flows.extraction.run_report import ShardsLostError
from reeldex.flows.extraction.search_notes import describe_notes
from reeldex.flows.extraction.store_use import RunSkippedError
from reeldex.flows.runs.artifacts import can_be_seen
from reeldex.flows.runs.form_words import in_form_words
from reeldex.flows.runs.logs import leave_out_traces, send_to_prefect
from reeldex.flows.runs.signs_of_life import signs_of_life
from reeldex.quantities import counted

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from reeldex.flows.extraction.run_report import RunReport

log = logging.getLogger(__name__)

_EXPECTED = (UserError, InfrastructureError, InternalError, RunStoppedError, ShardsLostError, OSError)


def run_to_state(work: Callable[[], State[Any]]) -> State[Any]:
    """Run a flow's work and return its final state; the state of an error contains the error, for the caller to raise.

    An expected error is reported in the state and the log by its message, without a stack trace.
    """
    leave_out_traces(_EXPECTED)
    if can_be_seen():
        send_to_prefect()
    try:
        with signs_of_life() if can_be_seen() else nullcontext():
            state = work()
    except RunSkippedError as skipped:
        log.warning("%s", skipped)
        state = Completed(name="Skipped", message=str(skipped), data=skipped)
    except _EXPECTED as error:
        log.error("%s", error)  # noqa: TRY400 - the message says what to do; a stack trace would bury it
        state = Failed(message=str(error), data=error)
    state.message = _on_one_line(in_form_words(state.message or ""))
    return state


def _on_one_line(text: str) -> str:
    """Return a message without line ends, which Prefect's log and lists of runs do not show as such."""
    return " ".join(line.strip() for line in text.splitlines())


def completed(report: RunReport) -> State[Any]:
    """Return the state of a run whose shards are all done; its name tells if videos failed, or nothing was new."""
    log.info("%s", report)
    for line in report.time.lines():
        log.info("%s", line)
    text = str(report)
    sentence = f"{text[:1].upper()}{text[1:]}."
    if not report.succeeded:
        return Completed(name="Completed with failures", message=f"{_failures(report)} {sentence}", data=report)
    if not report.shards_done and not report.shards_elsewhere:
        return Completed(name="Nothing new", message=sentence, data=report)
    return Completed(message=sentence, data=report)


def _failures(report: RunReport) -> str:
    """Return in words which videos have no features, and where the search of the source failed."""
    sentences = describe_notes([note for note in report.notes if note.is_failure])
    if total := sum(report.failed_by_reason.values()):
        counts = ", ".join(f"{count} {reason}" for reason, count in report.failed_by_reason.items())
        sentences.insert(0, f"{counted(total, 'video')} {'has' if total == 1 else 'have'} no features: {counts}.")
    return " ".join(sentences)
