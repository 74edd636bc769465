"""The service of each URL, opened once, and whether a fault concerns one video or the service."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from reeldex.errors import InfrastructureError, UserError
from reeldex.extractors.errors import FailureReason
from reeldex.flows.fetching.faults import FaultKind, FetchError, ServiceFault
from reeldex.flows.fetching.object_store import ObjectFiles
from reeldex.flows.fetching.patience import Patience, deadline_in
from reeldex.remote_urls import RemoteUrl

if TYPE_CHECKING:
    from reeldex.flows.config.fetching import FetchConfig
    from reeldex.flows.fetching.service import Service
    from reeldex.flows.fetching.web import WebFiles

_ASKED = 3  # other files, to find out what a fault concerns
_WITNESS_SECONDS = 30.0
_SILENT_TIMES = 3  # in a row, without any answer of a service, before it is not asked any more
_LOOK_SECONDS = 120.0  # for facts about a file, all attempts together
_LATELY_SECONDS = 600.0
# Services that this process has given up, and until when (monotonic) they are tried but once: the shards of a run have
# services of their own, and each would be patient with the same dead host. Whose fault it is, each finds out itself.
GIVEN_UP_LATELY: dict[str, float] = {}


class Services:
    """The services of a run, or of a shard of it. Its methods are thread-safe.

    One that cannot be reached, or that does not answer again and again, is given up: its other videos fail at once.
    """

    def __init__(self, config: FetchConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._web: WebFiles | None = None
        self._stores: dict[tuple[str, str], ObjectFiles] = {}
        self._given_up: dict[str, ServiceFault] = {}
        self._silent: Counter[str] = Counter()

    def of(self, url: str) -> Service:
        """Return the service of a URL. Raises the fault for which it has been given up."""
        parsed = RemoteUrl.parse(url)
        if (fault := self._given_up.get(service_name(url))) is not None:
            if fault.kind is FaultKind.UNREACHABLE:
                raise fault
            raise self._timeout(url, fault)
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
        """Return how often and how long a request is tried: once if its service has been given up, here or lately.

        With `brief`, for a request that only asks for facts.
        """
        lately = time.monotonic() < GIVEN_UP_LATELY.get(service_name(url), 0.0)
        tries = 0 if lately or self.has_given_up(url) else self._config.retries
        seconds = min(_LOOK_SECONDS, self._config.timeout_seconds) if brief else self._config.timeout_seconds
        return Patience(tries, self._config.retry_delay_seconds, deadline_in(seconds), stop or threading.Event())

    def has_given_up(self, url: str) -> bool:
        """Whether the service of a URL is not asked any more."""
        return service_name(url) in self._given_up

    def note_answer(self, url: str) -> None:
        """Note that a service has answered, whatever it said."""
        with self._lock:
            self._silent.pop(service_name(url), None)
            GIVEN_UP_LATELY.pop(service_name(url), None)

    def note_silence(self, url: str, fault: ServiceFault) -> None:
        """Note that nothing of a service arrived within the limits; after some times in a row, it is given up."""
        name = service_name(url)
        with self._lock:
            self._silent[name] += 1
            if self._silent[name] >= _SILENT_TIMES:
                self._give_up(name, fault)

    def _give_up(self, name: str, fault: ServiceFault) -> None:
        self._given_up.setdefault(name, fault)
        GIVEN_UP_LATELY[name] = time.monotonic() + _LATELY_SECONDS

    def _timeout(self, url: str, fault: ServiceFault) -> FetchError:
        return FetchError(
            url,
            FailureReason.TIMEOUT,
            f"The video was not fetched: {service_name(url)} did not answer for {_SILENT_TIMES} others ({fault.why}).",
            f"{fault.remedy} `reeldex rerun --failed-videos` tries it again.",
        )

    def judged(self, url: str, fault: ServiceFault, others: Iterable[str]) -> FetchError | InfrastructureError:
        """Return what a fault that has lasted means: a fault of this video, or one of its service.

        It is the video's if its service has facts about one of the `others`, or if it cannot be reached while other
        services answer. A service that asks for fewer requests works, and has to be waited for.
        """
        name = service_name(url)
        others = [each for each in dict.fromkeys(others) if each != url]
        if self.has_given_up(url):
            is_of_video = fault.kind is FaultKind.UNREACHABLE
        elif fault.kind is FaultKind.UNREACHABLE:
            witnesses = [each for each in others if service_name(each) != name and RemoteUrl.parse(url).is_web]
            is_of_video = self._any_answers(witnesses)
        else:
            witnesses = [each for each in others if service_name(each) == name]
            is_of_video = fault.kind is not FaultKind.THROTTLED and self._any_answers(witnesses, need_facts=True)
        if is_of_video:
            if fault.kind is FaultKind.UNREACHABLE:
                with self._lock:
                    self._give_up(name, fault)
            return FetchError(
                url,
                FailureReason.UNREADABLE,
                f"The video cannot be fetched: {fault.why}.",
                f"{fault.remedy} `reeldex rerun --failed-videos` tries it again.",
            )
        return InfrastructureError(f"{url} cannot be fetched: {fault.why}. {fault.remedy}")

    def _any_answers(self, urls: list[str], *, need_facts: bool = False) -> bool:
        by_service: dict[str, str] = {}
        for url in urls:
            by_service.setdefault(service_name(url), url)
        for url in urls[:_ASKED] if need_facts else list(by_service.values())[:_ASKED]:
            patience = Patience(0, 0.0, deadline_in(_WITNESS_SECONDS))
            try:
                self.of(url).look_at(url, patience)
            except FetchError:
                if not need_facts:
                    return True
            except (ServiceFault, InfrastructureError, UserError):
                continue
            else:
                return True
        return False


def service_name(url: str) -> str:
    """Return what of a URL names its service: the host of the web, or the scheme of an object store and its place."""
    parsed = RemoteUrl.parse(url)
    return parsed.place.lower() if parsed.is_web else f"{parsed.scheme}://{parsed.place}"
