"""Pictures of moments and playable segments of videos: made by ffmpeg on request, then cached."""

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
from reeldex.search.page.ffmpeg_arguments import Delivery, MediaInfo
from reeldex.search.page.ffmpeg_runs import FfmpegRuns
from reeldex.search.page.file_response import entity_tag, open_regular
from reeldex.search.page.problems import Problem, not_found
from reeldex.search.page.single_flight import SingleFlight

if TYPE_CHECKING:
    from reeldex.search.page.options import PageOptions

_MOST_MEDIA_INFOS = 1000
_SAID_CHARACTERS = 300

Gone = Callable[[], Awaitable[None]]


class Media:
    """Makes each picture and segment once for concurrent requests, and cancels work that no request waits for.

    All methods return None when the client disconnected, and raise Problem.
    """

    def __init__(self, options: PageOptions) -> None:
        self._options = options
        self._cache = DiskCache(options.cache, options.cache_bytes)
        self._runs = FfmpegRuns(options.ffmpeg_processes, options.ffmpeg_waiting)
        self._jobs: SingleFlight[bytes] = SingleFlight()
        self._media_infos: OrderedDict[str, MediaInfo] = OrderedDict()

    def close(self) -> None:
        """End every ffmpeg process."""
        self._runs.close()

    async def picture(self, path: str, at_seconds: float, gone: Gone) -> bytes | None:
        """Return the frame at a second as JPEG bytes."""
        width = self._options.picture_width
        version = await to_thread.run_sync(_version, path)
        key = f"picture {version} {at_seconds:.3f} {width}"
        return await self._made(key, partial(self._picture, path, at_seconds), gone)

    async def media_info(self, path: str) -> MediaInfo:
        """Return what determines how a file is played."""
        version = await to_thread.run_sync(_version, path)
        info = self._media_infos.get(version)
        if info is None:
            command = ffmpeg_arguments.probe_command(self._options.ffmpeg, path)
            answer = await self._runs.run(command, self._options.picture_timeout_seconds)
            facts = self._options.ffmpeg.describe(path, answer.stderr)
            if facts is None:
                raise _unplayable("ffmpeg finds no moving picture in the video's file", answer.said)
            info = self._media_infos[version] = ffmpeg_arguments.media_info(facts)
            if len(self._media_infos) > _MOST_MEDIA_INFOS:
                self._media_infos.popitem(last=False)
        return info

    async def segment(
        self, path: str, number: int, delivery: Delivery, known_seconds: float, gone: Gone
    ) -> bytes | None:
        """Return segment `number` of a video of `known_seconds`, as MP4 bytes."""
        info = await self.media_info(path)
        if delivery not in info.deliveries():
            raise not_found(f"This video cannot be delivered as {delivery}.")
        duration = info.duration_seconds or known_seconds
        part = ffmpeg_arguments.segment_at(number, self._options.segment_seconds, duration)
        if part is None:
            raise not_found("The video ends before this segment.")
        options = self._options
        shape = ffmpeg_arguments.shape_of(info, options.segment_height, options.segment_timeout_seconds)
        command = ffmpeg_arguments.segment_command(options.ffmpeg, path, part, delivery, shape)
        version = await to_thread.run_sync(_version, path)
        key = f"segment {version} {delivery} {part} {shape}"
        return await self._made(key, partial(self._segment, command), gone)

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
        command = ffmpeg_arguments.picture_command(
            options.ffmpeg, path, at_seconds, options.picture_width, options.picture_timeout_seconds
        )
        answer = await self._runs.run(command, options.picture_timeout_seconds)
        # A damaged file may yield a picture and a non-zero status; a process that a signal ended yields a part of one.
        if answer.status < 0 or not answer.output:
            raise _unplayable(f"ffmpeg finds no picture at {at_seconds:g} s", answer.said)
        return answer.output

    async def _segment(self, command: tuple[str, ...]) -> bytes:
        answer = await self._runs.run(command, self._options.segment_timeout_seconds)
        if answer.status != 0 or not answer.output:
            raise _unplayable("ffmpeg cannot make this part of the video playable", answer.said)
        return answer.output


def _version(path: str) -> str:
    """Return a version key of a file, which changes with it. Raises Problem if it is not a readable regular file."""
    descriptor, status = open_regular(path)
    os.close(descriptor)
    return f"{entity_tag(status)} {os.path.abspath(path)}"  # noqa: PTH100 - pathlib would collapse what the name may need


def _unplayable(what: str, said: str) -> Problem:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = f"; it said: {lines[-1][:_SAID_CHARACTERS]}" if lines else ""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "unplayable", f"{what}{reason}.")
