"""What a shard worker does in its own process: take a shard, extract it, tell of it, take the next."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from reeldex.errors import InfrastructureError, UsageError, UserError
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.errors import InternalError, is_infrastructure_fault
from reeldex.flows.execution.logs import forward_log
from reeldex.flows.execution.process_group import become_group_leader, end_with_parent, kill_own_group
from reeldex.flows.progress.progress import Listener, LogListener, both

if TYPE_CHECKING:
    from reeldex.flows.extraction.shard_work import ShardReport
    from reeldex.storage.schema import VideoOutcome
    from reeldex.storage.store import FeatureStore


@dataclass(frozen=True)
class ShardJob:
    """A shard to work on: which, in which feature spaces, how; `retry` are reasons to try failed videos again for."""

    store: str
    shard: int
    spaces: tuple[str, ...]
    config: PipelineConfig
    retry: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """An event: a method of `reeldex.flows.progress.progress.Listener` and what it is to be told."""

    method: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Logged:
    """A line of the log."""

    record: logging.LogRecord


@dataclass(frozen=True)
class Answer:
    """What came of a job or question."""

    value: Any


@dataclass(frozen=True)
class Refusal:
    """The error that a job or question ended in, as what the asker is to raise."""

    error: Exception


Message = Told | Logged | Answer | Refusal


def work(connection: Connection) -> None:
    """Serve jobs, and questions for the devices that a choice names, until the connection or the parent is gone."""
    become_group_leader()
    end_with_parent(kill_own_group)
    line = _Line(connection)
    forward_log(lambda record: line.send(Logged(record)))
    while True:
        try:
            job: ShardJob | str = connection.recv()
        except EOFError:
            return
        try:
            line.send(Answer(_devices(job) if isinstance(job, str) else _extract(job, line)))
        except Exception as error:  # noqa: BLE001 - it is told to those who asked
            line.send(Refusal(_to_raise(error)))


class _Line(Listener):
    """The connection, for several threads: decoders log too. A listener that tells the other end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        # A closed connection means that the parent is gone; so will be this process, by its leash.
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._connection.send(message)

    def planned(self, shard: int, videos: int, of: int) -> None:
        self.send(Told("planned", (shard, videos, of)))

    def decoded(self, seconds: float) -> None:
        self.send(Told("decoded", (seconds,)))

    def finished(self, shard: int, outcome: VideoOutcome) -> None:
        self.send(Told("finished", (shard, outcome)))


def _devices(choice: str) -> tuple[str, ...]:
    from reeldex.extractors.devices import usable_devices

    return usable_devices(choice)


def _extract(job: ShardJob, line: _Line) -> ShardReport:
    from reeldex.flows.extraction.networks import feature_space, load_networks
    from reeldex.flows.extraction.shard_work import run_shard

    networks = load_networks(job.spaces, job.config)
    store = _store(job.store)
    store.require_fingerprint(*map(feature_space, networks))
    return run_shard(store, networks, job, both(LogListener(), line))


@functools.lru_cache(maxsize=1)
def _store(path: str) -> FeatureStore:
    """Keep a store from shard to shard: it remembers what it has read, and notices what is new."""
    from reeldex.storage.store import FeatureStore

    return FeatureStore(path)


def _to_raise(error: Exception) -> Exception:
    """Return what the asker is to raise: our own kinds, since another library's error may not survive pickling."""
    if is_infrastructure_fault(error):
        return InfrastructureError(f"{type(error).__name__}: {error}")
    if isinstance(error, UserError):
        return UsageError(str(error))
    trace = "".join(traceback.format_exception(error))
    return InternalError(f"{type(error).__name__}: {error}. Please report it with this trace:\n{trace}")
