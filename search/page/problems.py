"""Error responses of the page: a status, a short code and a sentence, as JSON."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse

from reeldex.search.errors import IndexBusyError, QueryError, UnknownWordsError

RETRY_AFTER_SECONDS = 2


class Problem(Exception):  # noqa: N818 - it is an answer, not a fault of the program
    """An error response; `code` is for programs, the message for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def response(self) -> JSONResponse:
        """Return it as a response."""
        headers = {"cache-control": "no-store"}
        if self.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers["retry-after"] = str(RETRY_AFTER_SECONDS)
        error = {"status": self.status, "code": self.code, "message": str(self)}
        return JSONResponse({"error": error}, status_code=self.status, headers=headers)


def bad_request(code: str, message: str) -> Problem:
    """Return a 400: the request itself is wrong."""
    return Problem(HTTPStatus.BAD_REQUEST, code, message)


def not_found(message: str) -> Problem:
    """Return a 404."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", message)


def busy(message: str) -> Problem:
    """Return a 503 that asks the client to retry."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", message)


def from_search(error: Exception) -> Problem:
    """Return the response to an error of the index, or of its checkpoint or word vectors."""
    if isinstance(error, UnknownWordsError):
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "unknown_words", str(error))
    if isinstance(error, QueryError):
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "query", str(error))
    if isinstance(error, IndexBusyError):
        return busy(str(error))
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "index", str(error))
