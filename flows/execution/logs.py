"""The log of the packages: whose it is, and its way from a worker process to the one that started it."""

from __future__ import annotations

import logging
import logging.handlers
import queue
from collections.abc import Callable

OUR_LOGGER = "reeldex"

log = logging.getLogger(__name__)


def send_to_prefect() -> None:
    """Send our packages' log, from INFO on unless another level was set for it, to Prefect's log of the present run."""
    from prefect.logging.handlers import APILogHandler

    logger = logging.getLogger(OUR_LOGGER)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        logger.addHandler(APILogHandler())


class _Untraced(logging.Filter):
    def __init__(self, expected: tuple[type[BaseException], ...]) -> None:
        super().__init__()
        self._expected = expected

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, self._expected):
            return True
        record.exc_info = record.exc_text = None
        # The end of the engine says nothing but the trace; how the run ended has been said.
        return record.name == "prefect.task_runs"


def leave_out_traces(expected: tuple[type[BaseException], ...]) -> None:
    """Keep stack traces of these errors, whose messages say all there is to know, out of Prefect's log of a run."""
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
        logger = logging.getLogger(name)
        logger.filters[:] = [each for each in logger.filters if not isinstance(each, _Untraced)]
        logger.addFilter(_Untraced(expected))


class _Forwarding(logging.handlers.QueueHandler):
    def __init__(self, send: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(queue.SimpleQueue())  # never used: `enqueue` sends instead
        self._send = send

    def enqueue(self, record: logging.LogRecord) -> None:
        self._send(record)


def forward_log(send: Callable[[logging.LogRecord], None]) -> None:
    """Hand our packages' log of this process, and other libraries' warnings, to `send`, ready to be pickled."""
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [_Forwarding(send)]
    root.setLevel(logging.WARNING)
    logging.getLogger(OUR_LOGGER).setLevel(logging.INFO)


def replay(record: logging.LogRecord) -> None:
    """Log a record that another process forwarded, as if it had been made here.

    Other libraries' records go under our name: only our packages' log reaches Prefect's log of the run.
    """
    logger = logging.getLogger(record.name)
    if record.name.partition(".")[0] != OUR_LOGGER:
        record.msg = f"{record.name}: {record.msg}"
        logger = log
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
