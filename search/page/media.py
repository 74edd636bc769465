"""Pictures of moments and playable pieces of videos: made by ffmpeg when they are asked for, then kept."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from reeldex.search.page import ffmpeg_arguments
from reeldex.search.page.disk_cache import DiskCache
from reeldex.search.page.ffmpeg_arguments import Described, Way
from reeldex.search.page.ffmpeg_runs import FfmpegRuns
from reeldex.search.page.file_response import entity_tag, open_regular
from reeldex.search.page.problems import Problem, not_found
from reeldex.search.page.shared_jobs import SharedJobs

if TYPE_CHECKING:
    from reeldex.search.page.options import PageOptions

_MOST_DESCRIPTIONS = 1000
_SAID_CHARACTERS = 300

Gone = Callable[[], Awaitable[None]]


class Media:
    """Makes what is asked for once, however many ask, and gives up what nobody waits for any more.

    All methods return None when the asker left, and raise Problem.
    """

    def __init__(self, options: PageOptions) -> None:
        self._options = options
        self._cache = DiskCache(options.cache, options.cache_bytes)
        self._runs = FfmpegRuns(options.ffmpeg_processes, options.ffmpeg_waiting)
        self._jobs: SharedJobs[bytes] = SharedJobs()
        self._descriptions: OrderedDict[str, Described] = OrderedDict()

    def close(self) -> None:
        """End every ffmpeg process."""
        self._runs.close()

    async def picture(self, path: str, at_seconds: float, gone: Gone) -> bytes | None:
        """Return the frame at a second as JPEG bytes."""
        width = self._options.picture_width
        version = await to_thread.run_sync(_version, path)
        key = f"picture {version} {at_seconds:.3f} {width}"
        return await self._made(key, partial(self._picture, path, at_seconds), gone)

    async def description(self, path: str) -> Described:
        """Return what ffmpeg says of a file."""
        version = await to_thread.run_sync(_version, path)
        described = self._descriptions.get(version)
        if described is None:
            command = ffmpeg_arguments.describing(self._options.ffmpeg, path)
            answer = await self._runs.run(command, self._options.picture_timeout_seconds)
            described = ffmpeg_arguments.parse_description(answer.said)
            if described is None:
                raise _unplayable("ffmpeg finds no moving picture in the video's file", answer.said)
            self._descriptions[version] = described
            if len(self._descriptions) > _MOST_DESCRIPTIONS:
                self._descriptions.popitem(last=False)
        return described

    async def piece(self, path: str, number: int, way: Way, known_seconds: float, gone: Gone) -> bytes | None:
        """Return piece `number` of a video of `known_seconds`, as MP4 bytes."""
        described = await self.description(path)
        if way not in described.ways():
            raise not_found(f"This video cannot be played {way}.")
        duration = described.duration_seconds or known_seconds
        part = ffmpeg_arguments.piece_number(number, self._options.piece_seconds, duration)
        if part is None:
            raise not_found("The video ends before this piece.")
        options = self._options
        shape = ffmpeg_arguments.shape_of(described, options.piece_height, options.piece_timeout_seconds)
        command = ffmpeg_arguments.piece(options.ffmpeg, path, part, way, shape)
        version = await to_thread.run_sync(_version, path)
        key = f"piece {version} {way} {part} {shape}"
        return await self._made(key, partial(self._piece, command), gone)

    async def _made(self, key: str, make: Callable[[], Coroutine[Any, Any, bytes]], gone: Gone) -> bytes | None:
        kept = await to_thread.run_sync(self._cache.get, key)
        if kept is not None:
            return kept

        async def make_and_keep() -> bytes:
            content = await make()
            await to_thread.run_sync(self._cache.put, key, content)
            return content

        return await self._jobs.result(key, make_and_keep, gone)

    async def _picture(self, path: str, at_seconds: float) -> bytes:
        options = self._options
        command = ffmpeg_arguments.picture(
            options.ffmpeg, path, at_seconds, options.picture_width, options.picture_timeout_seconds
        )
        answer = await self._runs.run(command, options.picture_timeout_seconds)
        # A damaged file may give a picture and a bad status; what a signal ended gave a part of one.
        if answer.status < 0 or not answer.output:
            raise _unplayable(f"ffmpeg finds no picture at {at_seconds:g} s", answer.said)
        return answer.output

    async def _piece(self, command: tuple[str, ...]) -> bytes:
        answer = await self._runs.run(command, self._options.piece_timeout_seconds)
        if answer.status != 0 or not answer.output:
            raise _unplayable("ffmpeg cannot make this part of the video playable", answer.said)
        return answer.output


def _version(path: str) -> str:
    """Name a file as it is now; another name once it was changed. Raises Problem if it is no readable regular file."""
    descriptor, status = open_regular(path)
    os.close(descriptor)
    return f"{entity_tag(status)} {os.path.abspath(path)}"  # noqa: PTH100 - pathlib would collapse what the name may need


def _unplayable(what: str, said: str) -> Problem:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = f"; it said: {lines[-1][:_SAID_CHARACTERS]}" if lines else ""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "unplayable", f"{what}{reason}.")
