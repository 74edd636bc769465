"""Requests to an object store that are retried, and answered no later than at a deadline."""

from __future__ import annotations

import time
from typing import Any

from reeldex.remote_faults import attempted, connected
from reeldex.remote_files import within_seconds
from reeldex.remote_urls import RemoteUrl

_LEAST_SECONDS = 0.001


def requested_of_file(url: RemoteUrl, deadline: float | None, method: str, *more: Any, **arguments: Any) -> Any:  # noqa: ANN401 - fsspec's
    """Return what a method of the file system of a URL returns for the URL's path and `more`; see `requested`."""
    system, path = connected(url)
    return requested(system, url, deadline, method, path, *more, **arguments)


def requested(
    system: Any,  # noqa: ANN401 - fsspec's
    url: RemoteUrl,
    deadline: float | None,
    method: str,
    *given: Any,  # noqa: ANN401
    **arguments: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Return what a method of a file system returns, no later than at the deadline, if there is one.

    The deadline is a time of `time.monotonic`. Raises RemoteError, also (timeout) after the deadline, and
    FileNotFoundError and FileExistsError of the client.
    """

    def request() -> Any:  # noqa: ANN401 - fsspec's
        if deadline is None:
            return getattr(system, method)(*given, **arguments)
        return within_seconds(system, method, max(deadline - time.monotonic(), _LEAST_SECONDS), *given, **arguments)

    return attempted(request, url, deadline)
