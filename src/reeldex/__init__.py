"""reeldex makes folders of raw videos searchable.

The public API. Each name is loaded on first use, so that `import reeldex` is fast:

- `extract`: features of videos, in this process.
- `FeatureStore`: features on disk.
- `TextVideoModel`: embeddings of sentences and videos.
- `SearchIndex`: search an index of moments.
- `ReeldexError`: the base of all errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reeldex.api.extraction import ExtractedVideo, extract
    from reeldex.api.text_video import TextVideoModel
    from reeldex.errors import ReeldexError
    from reeldex.search.index import SearchIndex
    from reeldex.storage.store import FeatureStore

    __version__: str

__all__ = [
    "ExtractedVideo",
    "FeatureStore",
    "ReeldexError",
    "SearchIndex",
    "TextVideoModel",
    "__version__",
    "extract",
]

# Where each name is defined.
_HOMES = {
    "ExtractedVideo": "reeldex.api.extraction",
    "FeatureStore": "reeldex.storage.store",
    "ReeldexError": "reeldex.errors",
    "SearchIndex": "reeldex.search.index",
    "TextVideoModel": "reeldex.api.text_video",
    "extract": "reeldex.api.extraction",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562). Raises AttributeError."""
    if name == "__version__":
        import importlib.metadata

        value: object = importlib.metadata.version("reeldex")
    elif name in _HOMES:
        import importlib

        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
