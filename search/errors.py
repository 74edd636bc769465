"""What can go wrong with an index; every message says what happened, to what, why, and what to do."""

from reeldex.errors import UserError


class SearchError(UserError):
    """Base of every error of this package."""


class IndexNotFoundError(SearchError):
    """There is no index where one was to be opened."""


class IndexMismatchError(SearchError):
    """An index was made with another checkpoint, other word vectors, features, windows or another store."""


class IndexBusyError(SearchError):
    """Another process builds this index."""


class IndexDamagedError(SearchError):
    """A file of an index is not what was once written there."""


class IndexUnreadableError(SearchError):
    """The system does not let us read a file of an index: permissions, limits, a disk. It may well be intact."""


class IndexClosedError(SearchError):
    """An index is used after it was closed."""


class FactoryError(SearchError):
    """A FAISS factory string cannot be used, for these numbers of dimensions or at all."""


class VideosVanishedError(SearchError):
    """So many video files are gone that a disk is probably not mounted."""


class NothingToIndexError(SearchError):
    """A store has no video that can be indexed."""


class QueryError(SearchError):
    """A question cannot be answered: no known word, too long, an unknown video, a bad number of answers."""


class UnknownWordsError(QueryError):
    """No word of a query is in the vocabulary of the word vectors."""
