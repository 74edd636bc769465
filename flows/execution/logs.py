"""The log of the packages: whose it is, and its way from a worker process to the one that started it."""

from __future__ import annotations

import logging
import logging.handlers
import queue
from collections.abc import Callable

OUR_LOGGER = "reeldex"

log = logging.getLogger(__name__)


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
