"""What the steps of a pipeline found, and how to search next, as an artifact of its run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from reeldex.flows.extraction.markdown import table
from reeldex.flows.runs.artifacts import publish_markdown

if TYPE_CHECKING:
    from pathlib import Path

A = TypeVar("A")
R = TypeVar("R")


class StepsFound:
    """Collects what the steps of a pipeline found, and why one failed, for a run that does not reach its end."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def of(self, step: str, work: Callable[[A], R]) -> Callable[[A], R]:
        """Return `work`, whose report or error is added under the name of its step."""

        def recorded(request: A) -> R:
            try:
                report = work(request)
            except Exception as error:
                self._found[step] = f"Did not finish: {error}"
                raise
            self._found[step] = f"{report}"
            return report

        return recorded

    @contextmanager
    def published_on_failure(self) -> Iterator[None]:
        """Publish what was found if the block fails."""
        try:
            yield
        except Exception:
            if self._found:
                _publish(self._found, _AFTER_A_FAILURE)
            raise


def publish_pipeline(found: Mapping[str, str], index: Path) -> None:
    """Publish what each step of a pipeline found, by its name, and how to search the `index`."""
    _publish(found, how_to_search(index))


def _publish(found: Mapping[str, str], next_step: str) -> None:
    rows = [{"step": step, "what it found": text} for step, text in found.items()]
    publish_markdown(f"{table(rows)}\n\n{next_step}", f"Summary: {', '.join(found)}")


def how_to_search(index: Path) -> str:
    """Return how to search an index, as Markdown."""
    folder = shlex.quote(str(index.absolute()))
    return (
        "**Search next.** In a terminal on a machine that sees this folder:\n\n"
        f'```\nreeldex page --index {folder}\nreeldex search --index {folder} "chop the onion"\n```\n\n'
        "`reeldex page` prints the address of a search page, on which moments are shown and played."
    )


_AFTER_A_FAILURE = "**Retry** continues with the step that failed; the steps above it are not repeated."
