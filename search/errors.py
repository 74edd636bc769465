"""Errors of the index; every message says what happened, to what, why, and what to do."""

from __future__ import annotations

from reeldex.errors import UnreadableError, UserError


class SearchError(UserError):
    """Base class of all errors of this package."""


class IndexNotFoundError(SearchError):
    """There is no index at the path to be opened."""


class IndexMismatchError(SearchError):
    """An index was made with another checkpoint, other word vectors, features, windows or another store."""


class IndexBusyError(SearchError):
    """Another process is building this index."""


class IndexDamagedError(SearchError):
    """The content of a file of an index is not what was written."""


class IndexUnreadableError(SearchError, UnreadableError):
    """The system does not allow reading a file of an index: permissions, limits, a disk. It may be intact."""


class IndexClosedError(SearchError):
    """An index is used after it was closed."""


class FactoryError(SearchError):
    """A FAISS factory string cannot be used, for this dimension or at all."""


class VideosVanishedError(SearchError):
    """So many video files no longer exist that a disk is probably not mounted."""


class NothingToIndexError(SearchError):
    """A store has no video that can be indexed."""


class QueryError(SearchError):
    """A query is invalid: no known word, too long, an unknown video, an invalid number of results."""


class UnknownWordsError(QueryError):
    """No word of a query is in the vocabulary of the word vectors."""
