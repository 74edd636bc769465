"""ffmpeg processes: limited in number and time, and always cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from reeldex.search.page.problems import Problem, busy

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_OUTPUT_BYTES = 64_000_000
_MOST_ERROR_BYTES = 16_000


@dataclass(frozen=True)
class FfmpegAnswer:
    """The result of a process that ended by itself: exit status, standard output and standard error."""

    status: int
    output: bytes
    stderr: bytes

    @property
    def said(self) -> str:
        """Its standard error as text."""
        return self.stderr.decode("utf-8", "replace")


class FfmpegRuns:
    """Runs ffmpeg, at most `at_once` processes at a time with `waiting` more queued.

    Every process leads a group of its own, which is killed when its time is up, when no request waits for it
    (its task is cancelled), and by `close`. If this process is itself killed, the command sees to its end
    (FfmpegProgram), as long as the thread of the event loop is the one that started it and lives.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._room = at_once + waiting
        self._inside = 0
        self._closed = False
        self._processes: set[asyncio.subprocess.Process] = set()

    async def run(self, command: Sequence[str], timeout_seconds: float) -> FfmpegAnswer:
        """Run a command to its end. Raises Problem: 503 when the queue is full, 504 after `timeout_seconds`."""
        if self._inside >= self._room or self._closed:
            raise busy("The server is busy with pictures and video segments. Try again in a moment.")
        self._inside += 1
        try:
            async with self._slots:
                return await self._run(command, timeout_seconds)
        finally:
            self._inside -= 1

    async def _run(self, command: Sequence[str], timeout_seconds: float) -> FfmpegAnswer:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._processes.add(process)
        try:
            if self._closed:
                _kill(process)
            async with asyncio.timeout(timeout_seconds):
                output, said = await _read_both(process)
                status = await process.wait()
        except TimeoutError as error:
            raise Problem(
                HTTPStatus.GATEWAY_TIMEOUT,
                "timeout",
                f"ffmpeg did not finish within {timeout_seconds:g} seconds; the file's disk may be slow.",
            ) from error
        finally:
            _kill(process)
            # Also when this task is cancelled: an unreaped process would stay as a zombie.
            await asyncio.shield(_end(process))
            self._processes.discard(process)
        if self._closed:  # killed, it wrote at most a part
            raise busy("The server is shutting down.")
        return FfmpegAnswer(status, output, said)

    def close(self) -> None:
        """Kill all processes, and start no more."""
        self._closed = True
        for process in self._processes:
            _kill(process)


async def _read_both(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    output, said = _streams(process)
    reading = [
        asyncio.ensure_future(_read(output, _MOST_OUTPUT_BYTES)),
        asyncio.ensure_future(_read(said, _MOST_ERROR_BYTES, keep_going=True)),
    ]
    try:
        first, second = await asyncio.gather(*reading)
    finally:
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    return first, second


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for a process that was killed, and read what it had written: its pipes would stay open with it."""
    for stream in _streams(process):
        while await stream.read(65_536):
            pass
    await process.wait()


def _streams(process: asyncio.subprocess.Process) -> tuple[asyncio.StreamReader, asyncio.StreamReader]:
    assert process.stdout is not None  # noqa: S101 - asked for when it was started; mypy cannot know
    assert process.stderr is not None  # noqa: S101
    return process.stdout, process.stderr


async def _read(stream: asyncio.StreamReader, most: int, *, keep_going: bool = False) -> bytes:
    kept = bytearray()
    while chunk := await stream.read(65_536):
        if len(kept) + len(chunk) <= most:
            kept += chunk
        elif not keep_going:
            raise Problem(
                HTTPStatus.BAD_GATEWAY, "too_large", f"ffmpeg returned more than {most:,} bytes for one request."
            )
    return bytes(kept)


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
