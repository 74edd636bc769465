"""The file system that a URL names: any of fsspec. No client is loaded before it is used."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reeldex.errors import UsageError
from reeldex.remote_urls import RemoteUrl, credentials_advice, redacted, service_of

if TYPE_CHECKING:
    import fsspec

log = logging.getLogger(__name__)

_DISTRIBUTIONS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
# `remote_faults.attempted` repeats requests, with pauses; five attempts of the client for each would take minutes, and
# one whose answer was lost would meet its own work. `_set_up` has the clients that take no such option.
_CLIENT_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"retries": {"total_max_attempts": 1}}}}
# What these clients log is in the errors that they raise, too: at each attempt, with a traceback.
_LOUD = {"gs": ("gcsfs",), "az": ("azure",)}
_PLACE_UNTOLD = frozenset({"gs", "az"})
# Buckets that have answered, so that an absent file in one is not taken for an absent bucket.
_PRESENT: set[tuple[str, str]] = set()


def require_client(url: RemoteUrl) -> None:
    """Raise UsageError when the client of a URL is not installed or fsspec knows no such scheme; does not connect."""
    with _refusals(url):
        _class_of(url.scheme)


@functools.cache
def _class_of(scheme: str) -> type[fsspec.AbstractFileSystem]:
    import fsspec

    found: type[fsspec.AbstractFileSystem] = fsspec.get_filesystem_class(scheme)
    return found


@contextmanager
def _refusals(url: RemoteUrl) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{url} needs {_missing(url.scheme, error)}") from error
    except ValueError as error:
        remedy = credentials_advice(url.scheme) if service_of(url.scheme) else "Check its scheme."
        raise UsageError(f"{url} cannot be opened: {redacted(str(error)).rstrip('.!')}. {remedy}") from error


def open_file_system(url: RemoteUrl, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:  # noqa: ANN401 - fsspec's
    """Return the file system of a URL and the path that it has there.

    Those of object stores make no request; others, such as ftp and sftp, connect, and raise what their client raises.
    `options` are those of the file system beside the credentials, which it takes from the environment. Listings are
    not cached. Raises UsageError when its client is not installed or fsspec knows no such scheme.
    """
    import fsspec.core

    with _refusals(url):
        defaults = _CLIENT_OPTIONS.get(service_of(url.scheme) or "", {})
        system, path = fsspec.core.url_to_fs(str(url), use_listings_cache=False, **{**defaults, **options})
    for name in _LOUD.get(service_of(url.scheme) or "", ()):
        if (client_log := logging.getLogger(name)).level == logging.NOTSET:
            client_log.setLevel(logging.CRITICAL)
    _set_up(system, url.scheme)
    return system, str(path)


def place_is_absent(url: RemoteUrl) -> bool:
    """Ask whether the bucket of a URL is absent, of a client that reports one as an absent file; False for others.

    At Google Cloud, listing its objects needs no right that a store does not need anyway.
    """
    service, place = service_of(url.scheme), (url.scheme, url.place)
    if service not in _PLACE_UNTOLD or place in _PRESENT:
        return False
    system, _ = open_file_system(url)
    try:
        if service == "gs":
            system.call("GET", "b/{}/o", url.place, maxResults=1)
        else:
            system.info(url.place)
    except FileNotFoundError:
        return True
    except Exception as error:  # noqa: BLE001 - clients raise what they like
        log.debug("Whether the bucket of %s exists is not known: %s", url, redacted(str(error)))
        return False
    _PRESENT.add(place)
    return False


def path_within(system: fsspec.AbstractFileSystem, url: str) -> str:
    """Return the path of a URL in its file system, as it is in listings."""
    return str(system._strip_protocol(url))  # noqa: SLF001 - fsspec has no other name for it


def within_seconds(
    system: fsspec.AbstractFileSystem,
    method: str,
    seconds: float,
    *given: Any,  # noqa: ANN401 - fsspec's
    **arguments: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Return what a method of a file system returns for the `given` arguments.

    Raises TimeoutError when that takes longer, of file systems that can be interrupted: those of the object stores.
    """
    import fsspec.asyn

    if getattr(system, "async_impl", False):
        request = getattr(system, f"_{method}")
        return fsspec.asyn.sync(system.loop, request, *given, timeout=seconds, **arguments)
    return getattr(system, method)(*given, **arguments)


def let_client_finish(system: fsspec.AbstractFileSystem) -> None:
    """Return once the thread of a file system's client, if it has one, has ended what it is doing now."""
    import fsspec.asyn

    if getattr(system, "async_impl", False):
        fsspec.asyn.sync(system.loop, _nothing)


def _set_up(system: Any, scheme: str) -> None:  # noqa: ANN401 - fsspec's
    """Let a client try each request once, for which gcsfs and adlfs have no option, and take names as they are."""
    service = service_of(scheme)
    if service == "gs" and "_request" not in vars(system):
        once = getattr(type(system)._request, "__wrapped__", None)  # noqa: SLF001
        if once is not None:
            system._request = functools.partial(once, system)  # noqa: SLF001
        # Else `folder#1` would be the first version of `folder`.
        system.version_aware = False
    if service == "az":
        policy = getattr(getattr(system.service_client, "_config", None), "retry_policy", None)
        if policy is not None:
            policy.total_retries = 0


async def _nothing() -> None:
    pass


def _missing(scheme: str, error: ImportError) -> str:
    extra = service_of(scheme)
    if extra is None:
        return f"a package that is not installed: {str(error).rstrip('.')}."
    return f"the package {_DISTRIBUTIONS[extra]}. Run `pip install -e '.[{extra}]'` in reeldex's checkout."
