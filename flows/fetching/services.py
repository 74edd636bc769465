"""The service of each URL, opened once, and whether a fault concerns one video or the service."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from reeldex.errors import InfrastructureError, UserError
from reeldex.extractors.errors import FailureReason
from reeldex.flows.fetching.faults import FaultKind, FetchError, ServiceFault, UnansweredError
from reeldex.flows.fetching.object_store import ObjectFiles
from reeldex.flows.fetching.patience import Patience, deadline_in
from reeldex.flows.fetching.witnesses import Witnesses, service_name
from reeldex.remote_urls import RemoteUrl

if TYPE_CHECKING:
    from reeldex.flows.config.fetching import FetchConfig
    from reeldex.flows.fetching.service import Service
    from reeldex.flows.fetching.web import WebFiles

_ASKED = 3  # other files, to find out what a fault concerns
_WITNESS_SECONDS = 30.0
_SILENT_TIMES = 3  # videos in a row, without any answer of a service, before it is not asked any more
_LOOK_SECONDS = 120.0  # for facts about a file, all attempts together
_LATELY_SECONDS = 600.0
# Services that this process has given up, and until when (monotonic) they are tried but once: the shards of a run have
# services of their own, and each would be patient with the same dead host. Whose fault it is, each finds out itself.
GIVEN_UP_LATELY: dict[str, float] = {}


@dataclass(frozen=True)
class _GivenUp:
    """Why a service is not asked any more."""

    kind: FaultKind
    why: str
    remedy: str


class _Look(Enum):
    """What a service said of a file."""

    FACTS = auto()
    REFUSED = auto()
    NOTHING = auto()


class Services:
    """The services of a run, or of a shard of it. Its methods are thread-safe.

    One that cannot be reached, or that does not answer again and again, while another one answers, is given up: its
    other videos fail at once, until it answers after all.
    """

    def __init__(self, config: FetchConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._web: WebFiles | None = None
        self._stores: dict[tuple[str, str], ObjectFiles] = {}
        self._given_up: dict[str, _GivenUp] = {}
        # Videos without an answer since the last one of their service.
        self._silent: dict[str, set[str]] = defaultdict(set)

    def of(self, url: str) -> Service:
        """Return the service of a URL. Raises the fault for which it has been given up."""
        if (fault := self._given_up.get(service_name(url))) is not None:
            if fault.kind is FaultKind.UNREACHABLE:
                raise ServiceFault(fault.kind, fault.why, fault.remedy)
            raise _timeout(url, fault)
        return self._opened(url)

    def _opened(self, url: str) -> Service:
        parsed = RemoteUrl.parse(url)
        if not parsed.is_web:
            return self.store(parsed)
        with self._lock:
            if self._web is None:
                from reeldex.flows.fetching.web import WebFiles

                self._web = WebFiles(self._config.admits_host)
            return self._web

    def store(self, url: RemoteUrl) -> ObjectFiles:
        """Return the object store of a URL that is not one of the web."""
        with self._lock:
            key = (url.scheme, url.place)
            if key not in self._stores:
                self._stores[key] = ObjectFiles(url)
            return self._stores[key]

    def patience(self, url: str, stop: threading.Event | None = None, *, brief: bool = False) -> Patience:
        """Return how often and how long a request is tried.

        Once, as long as there is no answer, if its service has been given up, here or lately. With `brief`, for a
        request that only asks for facts.
        """
        name, config = service_name(url), self._config
        return Patience(
            config.retries,
            config.retry_delay_seconds,
            deadline_in(min(_LOOK_SECONDS, config.timeout_seconds) if brief else config.timeout_seconds),
            stop or threading.Event(),
            is_doubted=lambda: name in self._given_up or time.monotonic() < GIVEN_UP_LATELY.get(name, 0.0),
            answered=lambda: self._note_answer(name),
        )

    def has_given_up(self, url: str) -> bool:
        """Whether the service of a URL is not asked any more."""
        return service_name(url) in self._given_up

    def note_answer(self, url: str) -> None:
        """Note that a service has answered, whatever it said: then it is not given up any more."""
        self._note_answer(service_name(url))

    def _note_answer(self, name: str) -> None:
        # For each block of a download: without the lock where there is nothing to forget.
        if name in self._silent or name in self._given_up or name in GIVEN_UP_LATELY:
            with self._lock:
                self._silent.pop(name, None)
                self._given_up.pop(name, None)
                GIVEN_UP_LATELY.pop(name, None)

    def _give_up(self, name: str, fault: ServiceFault) -> None:
        with self._lock:
            self._given_up.setdefault(name, _GivenUp(fault.kind, fault.why, fault.remedy))
            GIVEN_UP_LATELY[name] = time.monotonic() + _LATELY_SECONDS

    def judged(self, url: str, fault: ServiceFault, witnesses: Witnesses) -> FetchError | InfrastructureError:
        """Return what a fault that has lasted means: a fault of this video, or one of its service.

        `witnesses` are the videos that are asked for, with this one; none if the URL is not that of a video. It is the
        video's if its service has facts about another one; if it redirects to a host that cannot be reached; if it
        cannot be reached while other services answer; if nothing arrives while its service or others answer, or when it
        is the only video. A service that asks for fewer requests works, and has to be waited for.
        """
        if fault.kind is FaultKind.UNREACHABLE:
            is_of_video = self._is_dead_host(url, fault, witnesses)
        elif fault.kind is FaultKind.MISLED:
            is_of_video = bool(witnesses)  # for the network works: the service has just answered
        elif fault.kind is FaultKind.SILENT:
            is_of_video = self._is_silence_of_video(url, fault, witnesses)
        else:
            is_of_video = fault.kind is not FaultKind.THROTTLED and self._has_facts_about(witnesses.of_same(url))
        if not is_of_video:
            return InfrastructureError(f"{url} cannot be fetched: {fault.why}. {fault.remedy}")
        return FetchError(
            url,
            FailureReason.TIMEOUT if fault.kind is FaultKind.SILENT else FailureReason.UNREADABLE,
            f"The video cannot be fetched: {fault.why}.",
            f"{fault.remedy} `reeldex rerun --failed-videos` tries it again.",
        )

    def _is_dead_host(self, url: str, fault: ServiceFault, witnesses: Witnesses) -> bool:
        if self.has_given_up(url):
            return True
        if not self._answers_elsewhere(url, witnesses):
            return False
        self._give_up(service_name(url), fault)
        return True

    def _is_silence_of_video(self, url: str, fault: ServiceFault, witnesses: Witnesses) -> bool:
        """Whether nothing arrives of one video only, or of a host while others answer: then after some, give it up."""
        name = service_name(url)
        if self.has_given_up(url):
            return True
        if witnesses.is_alone(url):
            return True  # nobody else can be asked
        with self._lock:
            self._silent[name].add(url)
            silent = frozenset(self._silent[name])
        elsewhere = self._answers_elsewhere(url, witnesses)
        if elsewhere and len(silent) < _SILENT_TIMES:
            return True
        if self._any_answers(each for each in witnesses.of_same(url) if each not in silent):
            return True
        # What answers otherwise, such as with 503, is not silent either.
        if elsewhere and len(self._silent.get(name, ())) >= _SILENT_TIMES:
            self._give_up(name, fault)
        return elsewhere

    def _answers_elsewhere(self, url: str, witnesses: Witnesses) -> bool:
        """Whether another service answers while a host of the web does not; no other one stands for an object store."""
        return RemoteUrl.parse(url).is_web and self._any_answers(witnesses.elsewhere(url, self._given_up))

    def _has_facts_about(self, urls: Iterable[str]) -> bool:
        return any(self._look(url) is _Look.FACTS for url in itertools.islice(urls, _ASKED))

    def _any_answers(self, urls: Iterable[str]) -> bool:
        return any(self._look(url) is not _Look.NOTHING for url in itertools.islice(urls, _ASKED))

    def _look(self, url: str) -> _Look:
        """Ask for a file once, to find out what a fault of another one concerns."""
        seconds = min(_WITNESS_SECONDS, self._config.timeout_seconds)
        redirected = threading.Event()
        patience = Patience(0, 0.0, deadline_in(seconds), answered=redirected.set)
        try:
            self._opened(url).look_at(url, patience)
        except FetchError as error:
            found = _Look.REFUSED if error.is_answer else _Look.NOTHING
        except ServiceFault as fault:
            found = _Look.REFUSED if redirected.is_set() else _Look.NOTHING
            if fault.kind.is_answer:
                self.note_answer(url)  # but not one that shows that the network works: a proxy fails like that, too
        except (InfrastructureError, UserError):
            return _Look.NOTHING
        else:
            found = _Look.FACTS
        if found is not _Look.NOTHING:
            self.note_answer(url)
        return found


def _timeout(url: str, fault: _GivenUp) -> FetchError:
    return UnansweredError(
        url,
        FailureReason.TIMEOUT,
        f"The video was not fetched: {service_name(url)} did not answer for {_SILENT_TIMES} others ({fault.why}).",
        f"{fault.remedy} `reeldex rerun --failed-videos` tries it again.",
    )
