"""The names of files in an object store: compared, hashed and cut up like those of any path."""

from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.errors import UsageError
from reeldex.storage.remote_path import RemotePath

STORE = RemotePath("s3://lab/some/store")


def test_the_paths_above_a_store_are_looked_through() -> None:
    assert [str(each) for each in STORE.parents] == ["s3://lab/some", "s3://lab", "s3://", "."]
    assert RemotePath("s3://lab/some") in STORE.parents
    assert RemotePath("s3://lab/x") not in STORE.parents
    assert Path("/disk/store") not in STORE.parents
    assert STORE not in Path("/disk/store/features").parents
    assert len({*STORE.parents, *RemotePath("s3://lab/x").parents}) == 4
    assert repr(STORE.parents[-1]) == "RemotePath('.')"


def test_a_path_below_another_one_is_told() -> None:
    assert STORE.is_relative_to(RemotePath("s3://lab"))
    assert not STORE.is_relative_to(RemotePath("s3://lab/x"))
    assert not STORE.is_relative_to(RemotePath("gs://lab"))
    assert STORE.relative_to(RemotePath("s3://lab")) == Path("some/store")
    assert STORE.relative_to(STORE) == Path()
    with pytest.raises(ValueError, match="not in the subpath of"):
        STORE.relative_to(RemotePath("s3://lab/x"))


def test_the_empty_path_is_no_url() -> None:
    empty = RemotePath("")
    assert empty == RemotePath()
    assert hash(empty) == hash(STORE.parents[-1])
    assert empty.parent == empty
    with pytest.raises(UsageError, match=r"'\.' is not a URL"):
        _ = empty.url
