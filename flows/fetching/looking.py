"""Sizes and versions of many files at URLs, for the plan of a run: by a request for each, or by a listing."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from reeldex.extractors.errors import FailureReason
from reeldex.flows.fetching.faults import FaultKind, FetchError, ServiceFault
from reeldex.flows.fetching.remote_file import RemoteFile
from reeldex.flows.fetching.witnesses import Witnesses
from reeldex.quantities import data_size
from reeldex.remote_urls import RemoteUrl

if TYPE_CHECKING:
    from reeldex.flows.fetching.patience import Patience
    from reeldex.flows.fetching.services import Services

log = logging.getLogger(__name__)

T = TypeVar("T")

_AT_A_TIME = 16
_WORTH_A_LISTING = 50  # files of one folder


def look_at_all(urls: Iterable[str], services: Services) -> dict[str, RemoteFile | None]:
    """Return what the services say of each file; None for one that is missing or that they do not let us see.

    Raises InfrastructureError when a service does not work.
    """
    urls = list(dict.fromkeys(urls))
    found: dict[str, RemoteFile | None] = {}
    for folder, members in _by_folder(urls).items():
        if len(members) >= _WORTH_A_LISTING:
            listed = _listed(folder, services)
            found |= {url: listed[url] for url in members if url in listed}
    left = [url for url in urls if url not in found]
    stop, witnesses = threading.Event(), Witnesses(left)
    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="look") as pool:
        try:
            found |= zip(left, pool.map(lambda url: look_at(url, services, witnesses, stop), left), strict=True)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def look_at(
    url: str, services: Services, witnesses: Witnesses, stop: threading.Event | None = None
) -> RemoteFile | None:
    """Return what the service says of a file; None if it is missing, if we may not see it, or if it does not say it.

    Then the extraction, which waits longer, finds the reason.
    """
    patience = services.patience(url, stop, brief=True)
    try:
        found = patience.attempted(lambda patience: services.of(url).look_at(url, patience), url)
    except FetchError as error:
        log.info("%s: %s", url, error)
        if error.is_answer:
            services.note_answer(url)
    except ServiceFault as fault:
        if fault.kind is not FaultKind.CUT:
            judged = services.judged(url, fault, witnesses)
            if not isinstance(judged, FetchError):
                raise judged from fault
    else:
        services.note_answer(url)
        return found
    return None


def asked(url: str, services: Services, request: Callable[[Patience], T], *, brief: bool = True) -> T:
    """Return what a request about a URL returns; without `brief`, it may take as long as a download.

    Raises FetchError, and InfrastructureError when it keeps failing.
    """
    try:
        return services.patience(url, brief=brief).attempted(request, url)
    except ServiceFault as fault:
        raise services.judged(url, fault, Witnesses()) from fault


def content_of(url: str, services: Services, most_bytes: int) -> bytes:
    """Return the content of a small file. Raises FetchError, also for a larger one, and InfrastructureError."""

    def read(patience: Patience) -> bytes:
        content = bytearray()
        with services.of(url).opened(url, 0, None, patience) as body:
            for block in body.blocks:
                content += block
                if len(content) > most_bytes:
                    what = f"It is larger than {data_size(most_bytes)}."
                    raise FetchError(url, FailureReason.TOO_LARGE, what, "Divide it into several.")
            if body.file.size_bytes not in {None, len(content)}:
                raise ServiceFault(FaultKind.FAILED, "the connection ended early", "Run it again later.")
        return bytes(content)

    return asked(url, services, read, brief=False)


def exists(url: str, services: Services) -> bool:
    """Return whether a file is still at a URL; also if that cannot be seen, so that nothing counts as gone by mistake.

    Raises InfrastructureError when its service does not work.
    """
    try:
        asked(url, services, lambda patience: services.of(url).look_at(url, patience))
    except FetchError as error:
        return error.reason is not FailureReason.MISSING
    return True


def _by_folder(urls: Sequence[str]) -> dict[str, list[str]]:
    """Return the URLs of object stores by their folders."""
    folders: dict[str, list[str]] = defaultdict(list)
    for url in urls:
        if not RemoteUrl.parse(url).is_web:
            folders[url.rpartition("/")[0]].append(url)
    return folders


def _listed(folder: str, services: Services) -> dict[str, RemoteFile]:
    """Return what a listing says of the files of a folder; nothing where it may not be listed."""
    try:
        # Some clients connect when they are made.
        store = asked(folder, services, lambda _: services.store(RemoteUrl.parse(folder)))
        entries = asked(folder, services, lambda patience: store.entries(folder, patience), brief=False)
    except FetchError:
        return {}
    root = store.path(folder).rstrip("/")
    return {
        f"{folder}/{str(entry['name']).removeprefix(root).lstrip('/')}": RemoteFile.from_listing(entry)
        for entry in entries
        if entry.get("type") == "file"
    }
