"""A file as a response, complete or a range, read from the file descriptor that was checked."""

from __future__ import annotations

import os
import stat
from email.utils import formatdate
from http import HTTPStatus
from pathlib import PurePath
from typing import TYPE_CHECKING

from anyio import create_task_group, to_thread
from starlette.responses import Response

from reeldex.search.page.byte_ranges import ByteRange, RangeNotSatisfiableError, parse_range
from reeldex.search.page.problems import Problem, not_found

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

_CHUNK_BYTES = 256 * 1024

# Only these: an indexed file with another extension is never served as a page or script.
_MEDIA_TYPES = {
    ".3gp": "video/3gpp",
    ".avi": "video/x-msvideo",
    ".flv": "video/x-flv",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".ogv": "video/ogg",
    ".ts": "video/mp2t",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
}


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; return its descriptor, which the caller closes, and its status.

    Raises Problem: 404 where there is no such file, 403 where it may not be read or is not a regular file.
    """
    try:
        # Non-blocking: opening a named pipe would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise not_found(
            "The video's file is no longer where the index has it. Put it back, or refresh the index."
        ) from (error)
    except OSError as error:
        raise Problem(
            HTTPStatus.FORBIDDEN, "unreadable", f"The video's file cannot be opened: {error.strerror}."
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Problem(HTTPStatus.FORBIDDEN, "unreadable", "The video's path is not a regular file.")
    return descriptor, status


def entity_tag(status: os.stat_result) -> str:
    """Return a strong ETag of a file, which changes when the file is written or replaced."""
    return f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'


class FileResponse(Response):
    """Streams a file from its descriptor, which it closes; answers Range, If-Range, If-None-Match and HEAD."""

    def __init__(self, request: Request, path: str) -> None:
        self._descriptor, status = open_regular(path)
        super().__init__(status_code=HTTPStatus.OK)
        size, tag, changed = status.st_size, entity_tag(status), formatdate(status.st_mtime, usegmt=True)
        self.headers.update(
            {
                "content-type": _MEDIA_TYPES.get(PurePath(path).suffix.lower(), "application/octet-stream"),
                "accept-ranges": "bytes",
                "etag": tag,
                "last-modified": changed,
                "cache-control": "no-cache",
            }
        )
        self._send_body = request.method != "HEAD"
        self._range: ByteRange | None = ByteRange(0, size - 1) if size else None
        self._decide(request, size, tag, changed)

    def _decide(self, request: Request, size: int, tag: str, changed: str) -> None:
        asked = request.headers
        if tag in (part.strip().removeprefix("W/") for part in asked.get("if-none-match", "").split(",")):
            self.status_code, self._range = HTTPStatus.NOT_MODIFIED, None
            del self.headers["content-length"]
            return
        wanted = None
        # Range has a meaning with GET alone (RFC 9110, 14.2).
        if request.method == "GET" and asked.get("if-range", tag) in (tag, changed):
            try:
                wanted = parse_range(asked.get("range"), size)
            except RangeNotSatisfiableError:
                self.status_code, self._range = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, None
                self.headers["content-range"] = f"bytes */{size}"
                self.headers["content-length"] = "0"
                return
        if wanted is not None:
            self.status_code, self._range = HTTPStatus.PARTIAL_CONTENT, wanted
            self.headers["content-range"] = f"bytes {wanted.first}-{wanted.last}/{size}"
        self.headers["content-length"] = str(self._range.length if self._range else 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the response, and close the file."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if self._send_body and self._range:
                await self._stream_while_wanted(self._range, receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            os.close(self._descriptor)

    async def _stream_while_wanted(self, wanted: ByteRange, receive: Receive, send: Send) -> None:
        # The server discards data for a disconnected browser: without this, the rest of the file is read in vain.
        async with create_task_group() as group:

            async def end_when_left() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(end_when_left)
            await self._stream(wanted, send)
            group.cancel_scope.cancel()

    async def _stream(self, wanted: ByteRange, send: Send) -> None:
        at = wanted.first
        while at <= wanted.last:
            chunk = await to_thread.run_sync(os.pread, self._descriptor, min(_CHUNK_BYTES, wanted.last + 1 - at), at)
            if not chunk:
                # Ending before the announced length makes the server close the connection, which the browser notices.
                raise OSError("a video's file became shorter while it was being sent")
            at += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
