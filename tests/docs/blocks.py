"""Command blocks of the documentation's pages, and what their markers say of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLOCK = re.compile(
    r"^(?:<!-- (?P<marker>.*?) -->\n+)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_COMMAND = re.compile(r"^(?:\$ )?(?:\S*reeldex|prefect|docker|torchrun|make|export)\b", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    `marker` is the comment before it: `run`, `run on a server`, `not run: REASON`, or None.
    """

    language: str
    body: str
    marker: str | None

    @property
    def is_run(self) -> bool:
        """Whether it is executed by the test of its page."""
        return self.marker == "run"

    @property
    def is_run_on_a_server(self) -> bool:
        """Whether it is executed beside a running `reeldex up`."""
        return self.marker == "run on a server"

    @property
    def is_marked(self) -> bool:
        """Whether its marker says that it is executed, or why not."""
        return (
            self.is_run or self.is_run_on_a_server or re.fullmatch(r"not run: \S.{5,}", self.marker or "") is not None
        )

    @property
    def needs_marker(self) -> bool:
        """Whether it holds commands or Python code."""
        return self.language == "python" or (not self.language and _COMMAND.search(self.body) is not None)


def blocks_of(page: str) -> list[Block]:
    """Return the fenced blocks of a page of Markdown, in order."""
    return [Block(each["language"], each["body"], each["marker"]) for each in _BLOCK.finditer(page)]
