"""The packages' log: its name, JSON lines, and forwarding it from a worker process to its parent."""

from __future__ import annotations

import json
import logging
import logging.handlers
import queue
from collections.abc import Callable
from datetime import UTC, datetime

OUR_LOGGER = "reeldex"

log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """Formats records as JSON objects, one per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's time (UTC), level, logger, message and process; and the trace of its error, if any."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        elif record.exc_text:  # of a record that a worker process has sent
            entry["error"] = record.exc_text
        return json.dumps(entry)


def logs_as_json() -> bool:
    """Whether this process writes our log as JSON lines, among which nothing else may be printed."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger(OUR_LOGGER).handlers)


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
