"""The videos that are asked for when one cannot be fetched, by service."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Container, Iterable, Iterator

from reeldex.remote_urls import RemoteUrl

_LATEST = 16  # videos that arrived, which are asked for first


def service_name(url: str) -> str:
    """Return what of a URL names its service: the host of the web, or the scheme of an object store and its place."""
    parsed = RemoteUrl.parse(url)
    return parsed.place.lower() if parsed.is_web else f"{parsed.scheme}://{parsed.place}"


class Witnesses:
    """The videos of a shard or a plan: those that arrived last are asked for before the others, in their order.

    A shard has thousands, of which thousands may fail: they are sorted by service once, at the first fault, and not
    gone through for each. Thread-safe.
    """

    def __init__(self, urls: Iterable[str] = ()) -> None:
        self._urls = tuple(dict.fromkeys(urls))
        self._lock = threading.Lock()
        self._arrived: deque[str] = deque(maxlen=_LATEST)
        self._by_service: dict[str, list[str]] | None = None

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._urls)

    def has_arrived(self, url: str) -> None:
        """Note that a video could be fetched."""
        with self._lock:
            self._arrived.append(url)

    def is_alone(self, url: str) -> bool:
        """Whether this is the only video."""
        return self._urls == (url,)

    def of_same(self, url: str) -> Iterator[str]:
        """Yield the other videos of the service of a URL."""
        by_service, latest = self._sorted()
        name, seen = service_name(url), {url}
        for each in itertools.chain(latest.get(name, ()), by_service.get(name, ())):
            if each not in seen:
                seen.add(each)
                yield each

    def elsewhere(self, url: str, without: Container[str]) -> Iterator[str]:
        """Yield a video of each other service, except of those whose names are in `without`."""
        by_service, latest = self._sorted()
        own = service_name(url)
        rest = ((name, urls) for name, urls in by_service.items() if name not in latest)
        for name, urls in itertools.chain(latest.items(), rest):
            if name != own and name not in without:
                yield urls[0]

    def _sorted(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return all videos by service, and those that arrived last, the latest first."""
        with self._lock:
            if self._by_service is None:
                self._by_service = _by_service(self._urls)
            return self._by_service, _by_service(reversed(self._arrived))


def _by_service(urls: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for url in urls:
        found.setdefault(service_name(url), []).append(url)
    return found
