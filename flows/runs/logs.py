"""Our packages' log in Prefect's log of a run."""

from __future__ import annotations

import copy
import logging
import re

from prefect.logging.handlers import APILogHandler

from reeldex.flows.execution.logs import OUR_LOGGER
from reeldex.flows.runs.form_words import in_form_words


class FormWordsHandler(APILogHandler):
    """Sends records to Prefect in the words of its forms; other handlers keep those of the command line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        message = record.getMessage()
        if (said := in_form_words(message)) != message:
            record = copy.copy(record)
            record.msg, record.args = said, ()
        super().emit(record)


def send_to_prefect() -> None:
    """Send our packages' log to Prefect's log of the current run, from level INFO unless another level was set."""
    logger = logging.getLogger(OUR_LOGGER)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        logger.addHandler(FormWordsHandler())


_STARTS_AT_ONCE = re.compile(r" will start immediately$")
_QUOTED_LINE_END = re.compile(r"(?<!\\)\\n")  # in the repr of a message, which Prefect logs


class _Readable(logging.Filter):
    """Edits Prefect's own lines: no stack traces of expected errors, no line ends in quotes."""

    def __init__(self, expected: tuple[type[BaseException], ...]) -> None:
        super().__init__()
        self._expected = expected

    def filter(self, record: logging.LogRecord) -> bool:
        # Prefect does not know that the next attempt waits first; that attempt says for how long.
        message = _STARTS_AT_ONCE.sub("", record.getMessage())
        record.msg, record.args = _QUOTED_LINE_END.sub("\n", message), ()
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, self._expected):
            return True
        record.exc_info = record.exc_text = None
        # Prefect's engine logs only the trace; the final state has been logged already.
        return record.name == "prefect.task_runs"


def leave_out_traces(expected: tuple[type[BaseException], ...]) -> None:
    """Leave stack traces of these errors, whose messages are sufficient, out of Prefect's log of a run."""
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
        logger = logging.getLogger(name)
        logger.filters[:] = [each for each in logger.filters if not isinstance(each, _Readable)]
        logger.addFilter(_Readable(expected))
