"""The packages' log: its name, and forwarding it from a worker process to its parent."""

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
    """Pass this process's log records of our packages, and other libraries' warnings, to `send` in picklable form."""
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [_Forwarding(send)]
    root.setLevel(logging.WARNING)
    logging.getLogger(OUR_LOGGER).setLevel(logging.INFO)


def replay(record: logging.LogRecord) -> None:
    """Log a record that another process forwarded, as if it had been created here.

    Other libraries' records are logged under our name: only our packages' log reaches Prefect's log of the run.
    """
    logger = logging.getLogger(record.name)
    if record.name.partition(".")[0] != OUR_LOGGER:
        record.msg = f"{record.name}: {record.msg}"
        logger = log
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
