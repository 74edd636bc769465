"""Where a store is, by what a person typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.errors import UserError
from reeldex.storage.location import store_path
from reeldex.storage.remote_path import RemotePath


@pytest.mark.parametrize("text", ["s3:/lab/f", "S3:/lab/f", "gs:/lab", "https:/host/f", "https:/me:hidden@host/f"])
def test_a_url_with_one_slash_is_no_folder(text: str) -> None:
    with pytest.raises(UserError, match="A URL has two slashes") as caught:
        store_path(text)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("text", ["store", "./s3:/lab/f", "/data/s3:/x", "s3", "x:/y"])
def test_everything_else_is_a_folder(text: str) -> None:
    assert store_path(text) == Path(text)


def test_a_url_is_one() -> None:
    assert isinstance(store_path("s3://lab/f"), RemotePath)
