"""The health check of a container (`python -m reeldex.cli.health`): exit status 0 if it is healthy, else 1.

Of a service, the environment's REELDEX_HEALTH_URL is an address that it serves: it must answer with HTTP 200. Of any
other container, ffmpeg has to run, and the folder for caches has to be writable.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

from reeldex.errors import ReeldexError
from reeldex.extractors import ffmpeg
from reeldex.user_folders import cache_folder, make_writable

_TIMEOUT_SECONDS = 5.0


def fault() -> str | None:
    """Return what is wrong with this container, None if nothing is."""
    address = os.environ.get("REELDEX_HEALTH_URL")
    return _fault_of_service(address) if address else _fault_of_image()


def _fault_of_service(address: str) -> str | None:
    if not address.startswith(("http://", "https://")):
        return f"REELDEX_HEALTH_URL is {address!r}, which is not an http:// or https:// address"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - see above
            return None if answer.status == 200 else f"{address} answers with HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{address} answers with HTTP {error.code}"
    except (OSError, ValueError) as error:
        return f"{address} does not answer: {error}"


def _fault_of_image() -> str | None:
    try:
        ffmpeg.version()
        make_writable(cache_folder("health"), "XDG_CACHE_HOME")
    except ReeldexError as error:
        return str(error)
    return None


def main() -> int:
    """Print what is wrong, if anything, and return the exit status."""
    found = fault()
    if found is not None:
        sys.stderr.write(f"reeldex: not healthy: {found}\n")
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main())
