"""What is remembered of an object store: an answer to an older question never hides what was written since."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reeldex.remote_urls import RemoteUrl
from reeldex.storage import remote_listings as listings

FOLDER = RemoteUrl("s3", "lab/store/claims")


class Bucket:
    """A file system whose answer can be late, and which lists fractions of seconds: neither happens at will."""

    def __init__(self) -> None:
        self.names = ["a.json"]
        self.late: list[object] = []

    def ls(self, path: str, *, detail: bool) -> list[dict[str, Any]]:
        assert detail
        found = [self._info(f"{path}/{name}", "2026-01-01T00:00:00.250+00:00") for name in self.names]
        if self.late:
            self.late.pop()
            # Another thread of this process writes while the answer is on its way.
            self.names.append("b.json")
            listings.forget(FOLDER)
        return found

    def info(self, path: str) -> dict[str, Any]:
        return self._info(path, "2026-01-01T00:00:00+00:00")

    @staticmethod
    def _info(name: str, time: str) -> dict[str, Any]:
        return {"name": name, "size": 1, "ETag": '"e1"', "LastModified": time, "type": "file"}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    bucket = Bucket()
    monkeypatch.setattr(listings, "connected", lambda url: (bucket, url.rest))
    listings.forget()
    yield bucket
    listings.forget()


def test_an_answer_that_is_late_does_not_hide_what_this_process_wrote_since(bucket: Bucket) -> None:
    bucket.late.append(True)
    assert list(listings.entries_of(FOLDER)) == ["a.json"]
    assert list(listings.entries_of(FOLDER)) == ["a.json", "b.json"]


def test_an_answer_of_now_is_asked_for_and_remembered(bucket: Bucket) -> None:
    assert list(listings.entries_of(FOLDER)) == ["a.json"]
    bucket.names.append("b.json")
    assert list(listings.entries_of(FOLDER)) == ["a.json"]
    assert list(listings.entries_now(FOLDER)) == list(listings.entries_of(FOLDER)) == ["a.json", "b.json"]


def test_a_file_has_one_version_whether_it_is_listed_or_asked_for(bucket: Bucket) -> None:
    alone = listings.entry_of(FOLDER, "a.json")
    listings.forget(FOLDER)
    assert listings.entries_of(FOLDER)["a.json"] == alone
    assert bucket.names == ["a.json"]
