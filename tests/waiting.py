"""Waiting for something to become true, with a deadline; the one place where tests poll."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

T = TypeVar("T")

_POLL_SECONDS = 0.05


def wait_until(
    condition: Callable[[], T],
    seconds: float,
    *,
    every: float = _POLL_SECONDS,
    process: subprocess.Popen[bytes] | subprocess.Popen[str] | None = None,
    details: Callable[[], str] = str,
) -> T:
    """Return the first true value of `condition()`, looking `every` so many seconds.

    Fails after `seconds`, or when `process`, which is to make it true, has ended; `details()` is added to the
    failure's message.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if process is not None:
            assert process.poll() is None, f"the process ended with status {process.returncode}\n{details()}"
        assert time.monotonic() < deadline, f"not true after {seconds} s\n{details()}"
        time.sleep(every)
    return found
