"""What a worker process sends to the process that started it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ProgressEvent:
    """An event of a job."""

    event: object


@dataclass(frozen=True)
class LogEvent:
    """A record of the log."""

    record: logging.LogRecord


@dataclass(frozen=True)
class Result:
    """What a job returned."""

    value: Any


@dataclass(frozen=True)
class Failure:
    """The error of a job, for the parent process to raise."""

    error: Exception


Message = ProgressEvent | LogEvent | Result | Failure
