"""Our packages' log in Prefect's log of a run."""

from __future__ import annotations

import logging
import re

from prefect.logging.handlers import APILogHandler

from reeldex.flows.execution.logs import OUR_LOGGER


def send_to_prefect() -> None:
    """Send our packages' log to Prefect's log of the current run, from level INFO unless another level was set."""
    logger = logging.getLogger(OUR_LOGGER)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        logger.addHandler(APILogHandler())


_STARTS_AT_ONCE = re.compile(r" will start immediately$")


class _Untraced(logging.Filter):
    def __init__(self, expected: tuple[type[BaseException], ...]) -> None:
        super().__init__()
        self._expected = expected

    def filter(self, record: logging.LogRecord) -> bool:
        if _STARTS_AT_ONCE.search(message := record.getMessage()):
            # Prefect does not know that the next attempt waits first; that attempt says for how long.
            record.msg, record.args = _STARTS_AT_ONCE.sub("", message), ()
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
        logger.filters[:] = [each for each in logger.filters if not isinstance(each, _Untraced)]
        logger.addFilter(_Untraced(expected))
