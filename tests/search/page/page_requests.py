"""Requests to a page on this machine: by no proxy, and without reading certificates, of which it has none.

To read them would take 20 ms of a core for each client.
"""

from __future__ import annotations

from typing import Any

import httpx


def client_of(address: str) -> httpx.Client:
    """Return a client of the page at `http://HOST:PORT`."""
    return httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False)  # noqa: S501 - no TLS


def get(url: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - those of httpx.get
    """Return the answer to GET."""
    return httpx.get(url, trust_env=False, verify=False, **options)  # noqa: S501 - no TLS
