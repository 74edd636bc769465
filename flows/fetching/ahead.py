"""The videos of a shard at URLs, fetched in threads ahead of the decoders, within the bytes of the cache."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.extractors.errors import FailureReason
from reeldex.extractors.source_files import ReadyFile
from reeldex.flows.fetching.cache import ByteBudget, CacheFolder
from reeldex.flows.fetching.download import Download, NeedsRoomError
from reeldex.flows.fetching.faults import FaultKind, FetchError, FetchStoppedError, ServiceFault
from reeldex.flows.fetching.services import Services
from reeldex.flows.fetching.witnesses import Witnesses
from reeldex.quantities import data_size
from reeldex.remote_urls import is_url

if TYPE_CHECKING:
    from reeldex.flows.config.fetching import FetchConfig

_ENDING_SECONDS = 1.0
_MOST_SIZES = 3  # that a video may have had before it counts as one that changes all the time


@dataclass(frozen=True)
class _Wanted:
    """A video to fetch, and its size if it is known; `sizes_before` counts the sizes that turned out to be wrong."""

    number: int
    url: str
    size_bytes: int | None
    sizes_before: int = 0


class FetchedFiles:
    """Hands out the files of a shard: those of this machine at once, those at URLs as they arrive.

    `sizes` are the sizes in bytes of the shard's videos, as far as they are known, by URL. Thread-safe, as
    `SourceFiles` requires.
    """

    def __init__(self, config: FetchConfig, sizes: Mapping[str, int | None]) -> None:
        self._config = config
        self._sizes = sizes
        self._services = Services(config)
        self._budget = ByteBudget(config.cache_bytes)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ready: deque[ReadyFile] = deque()
        self._waiting: deque[_Wanted] = deque()
        self._witnesses = Witnesses()
        self._held: dict[int, tuple[Path, int]] = {}
        self._outstanding = 0
        self._threads: list[threading.Thread] = []
        self._folder: CacheFolder | None = None

    def start(self, paths: Sequence[str]) -> None:
        """Begin to fetch the files of these paths, in their order. Raises UnwritableError for the cache."""
        self._outstanding = len(paths)
        self._witnesses = Witnesses([*self._sizes, *filter(is_url, paths)])
        for number, path in enumerate(paths):
            if is_url(path):
                self._waiting.append(_Wanted(number, path, self._sizes.get(path) or None))
            else:
                self._put(ReadyFile(number, path))
        if self._waiting:
            self._folder = CacheFolder(self._config.cache_folder)
        for index in range(min(self._config.downloads, len(self._waiting))):
            thread = threading.Thread(target=self._work, name=f"fetch-{index}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def next_ready(self) -> ReadyFile | None:
        """Wait for the next file; return None when all have been handed out, or after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or not self._outstanding or self._stop.is_set())
            return self._ready.popleft() if self._ready and not self._stop.is_set() else None

    def another_ready(self, accept: Callable[[str], bool]) -> ReadyFile | None:
        """Return the next file if one is ready now, and its path is accepted."""
        with self._lock:
            if not self._ready or self._ready[0].error is not None or not accept(self._ready[0].path):
                return None
            return self._ready.popleft()

    def release(self, number: int) -> None:
        """Remove a video that has been decoded."""
        with self._lock:
            path, size = self._held.pop(number, (None, 0))
        if path is not None:
            path.unlink(missing_ok=True)
            self._budget.give_back(size)

    def close(self) -> None:
        """Give up what has not been fetched, and remove what has."""
        self._stop.set()
        self._budget.close()
        with self._changed:
            self._changed.notify_all()
        ends = time.monotonic() + _ENDING_SECONDS
        for thread in self._threads:
            # One that waits for a service ends with its request; what it still writes is removed already.
            thread.join(timeout=max(0.0, ends - time.monotonic()))
        if self._folder is not None:
            self._folder.remove()

    def _put(self, file: ReadyFile) -> None:
        with self._changed:
            self._ready.append(file)
            self._outstanding -= 1
            self._changed.notify_all()

    def _work(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                wanted = self._waiting.popleft() if self._waiting else None
            if wanted is None:
                return
            try:
                self._fetch_or_judge(wanted)
            except FetchStoppedError:
                return
            except Exception as error:  # noqa: BLE001 - a decoder raises it
                self._put(ReadyFile(wanted.number, error=error))

    def _fetch_or_judge(self, wanted: _Wanted) -> None:
        """Fetch a video. Raises FetchError or InfrastructureError when its service fails."""
        try:
            self._fetch(wanted)
        except ServiceFault as fault:
            raise self._services.judged(wanted.url, fault, self._witnesses) from fault
        except FetchError as error:
            silence = error.__cause__
            if isinstance(silence, ServiceFault) and silence.kind is FaultKind.SILENT and not self._stop.is_set():
                judged = self._services.judged(wanted.url, silence, self._witnesses)
                if not isinstance(judged, FetchError):
                    raise judged from silence
            raise

    def _fetch(self, wanted: _Wanted) -> None:
        """Fetch a video, and hand it out; again later if it turns out to be larger than expected."""
        assert self._folder is not None  # noqa: S101 - while something is to be fetched
        most = self._config.max_video_bytes
        if wanted.size_bytes is not None and wanted.size_bytes > most:
            raise FetchError(
                wanted.url,
                FailureReason.TOO_LARGE,
                f"The video has {data_size(wanted.size_bytes)}, the limit is {data_size(most)}.",
                "Raise fetch.max_video_bytes if it should be extracted.",
            )
        room = most if wanted.size_bytes is None else wanted.size_bytes
        target = self._folder.file(wanted.number, wanted.url)
        self._budget.take(room)
        try:
            patience = self._services.patience(wanted.url, self._stop)
            service = self._services.of(wanted.url)
            download = Download(service, wanted.url, target, room, most, patience, wanted.size_bytes)
            size = self._observed(download)
        except NeedsRoomError as needed:
            self._give_up(target, room)
            self._queue_again(wanted, needed.size_bytes)
        except BaseException:
            self._give_up(target, room)
            raise
        else:
            self._budget.give_back(room - size)
            with self._lock:
                self._held[wanted.number] = (target, size)
            self._witnesses.has_arrived(wanted.url)
            self._put(ReadyFile(wanted.number, str(target)))

    def _observed(self, download: Download) -> int:
        """Run a download, and note an answer that refuses it; itself, it notes each other one."""
        try:
            return download.run()
        except FetchError as error:
            if error.is_answer:
                self._services.note_answer(download.url)
            raise

    def _give_up(self, target: Path, room: int) -> None:
        target.unlink(missing_ok=True)
        self._budget.give_back(room)

    def _queue_again(self, wanted: _Wanted, size_bytes: int | None) -> None:
        if wanted.sizes_before + 1 >= _MOST_SIZES:
            raise FetchError(
                wanted.url,
                FailureReason.UNREADABLE,
                "The service states another size of the video each time.",
                "Wait until the file does not change any more.",
            )
        with self._lock:
            self._waiting.append(_Wanted(wanted.number, wanted.url, size_bytes, wanted.sizes_before + 1))
