"""Where a store is: a folder of a disk, or a URL such as `s3://bucket/store`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import ValidatorFunctionWrapHandler, WrapValidator
from pydantic.fields import FieldInfo

from reeldex.errors import UserError
from reeldex.remote_urls import RemoteUrl, is_url, redacted
from reeldex.storage.errors import RemoteStoreError
from reeldex.storage.remote_path import RemotePath

_ONE_SLASH = re.compile(r"((?:s3a?|gc?s|az|abfss?|https?):)/(?!/)", re.IGNORECASE)


def store_path(text: str | Path) -> Path:
    """Return the path of a store, of which the text is a path or a URL; raises UserError for a bad URL."""
    if isinstance(text, Path):
        return text
    if slip := _ONE_SLASH.match(text):
        shown = redacted(f"{slip[1]}//{text[slip.end() :]}")
        raise RemoteStoreError(f"A URL has two slashes: {shown}. Begin with ./ to name a folder of this machine.")
    if not is_url(text):
        return Path(text)
    url = RemoteUrl.parse(text)
    if url.is_web:
        raise RemoteStoreError(
            f"{url} cannot hold a store: the web has no folders. Use a URL such as s3://bucket/store."
        )
    path = RemotePath(str(url))
    if ".." in path.parts:
        raise RemoteStoreError(f"{url} contains `..`, which object stores do not resolve. Write the URL without it.")
    return path


def _validated(given: Any, handler: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - what a document holds
    if isinstance(given, RemotePath):
        return given
    if not isinstance(given, str):
        return handler(given)
    try:
        return store_path(given)
    except UserError as error:
        raise ValueError(str(error)) from error


_STORE = WrapValidator(_validated)
StorePath = Annotated[Path, _STORE]
"""The type of an option that names a store."""


def names_store(option: FieldInfo) -> bool:
    """Return whether an option is a StorePath, or one that may be None."""
    return _STORE in option.metadata or StorePath in get_args(option.annotation)
