"""Flow runs that this process creates for itself: what they are given, and what they return.

A flow's parameters are plain values, which its form shows. A run that a command has prepared is handed on beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import tags

from reeldex.flows.extraction.choice import NOTHING_CHOSEN, Choice
from reeldex.flows.extraction.store_use import RunSkippedError
from reeldex.flows.runs.names import TAG

if TYPE_CHECKING:
    from reeldex.flows.config.pipeline import PipelineConfig
    from reeldex.flows.extraction.prepare import PreparedRun

T = TypeVar("T")

_handed: ContextVar[PreparedRun | None] = ContextVar("handed", default=None)


def report_of(kind: type[T], flow: Callable[..., Any], *arguments: object, **named: object) -> T:
    """Create a flow run, and return its report, which is a `kind`, or raise its error or RunSkippedError."""
    with tags(TAG):  # which tells runs of reeldex from others if their process dies
        found = flow(*arguments, **named)
    if isinstance(found, RunSkippedError):
        raise found
    if not isinstance(found, kind):
        raise TypeError(f"the flow returned {type(found).__name__}, not {kind.__name__}")
    return found


@contextmanager
def handing_on(prepared: PreparedRun) -> Iterator[None]:
    """Hand a prepared extraction to the flow run that the block creates in this process."""
    token = _handed.set(prepared)
    try:
        yield
    finally:
        _handed.reset(token)


def handed_on(
    source: Sequence[str],
    store: str,
    config: PipelineConfig,
    retry: Sequence[str] = (),
    choice: Choice = NOTHING_CHOSEN,
) -> PreparedRun | None:
    """Return the prepared extraction that was handed to this flow run; None if it is not one of these parameters.

    A run that a worker started, or that Retry repeats in another process, was handed nothing.
    """
    prepared = _handed.get()
    return prepared if prepared is not None and prepared.answers(source, store, config, retry, choice) else None
