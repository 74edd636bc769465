from __future__ import annotations

import pytest

from reeldex.errors import UsageError
from reeldex.remote_urls import RemoteUrl, carries_credentials, is_url, redacted

SECRETS = [
    "https://user:hunter2@host/a.mp4",
    "https://hunter2@host/a.mp4",
    "HTTPS://user:hunter2@host/a.mp4",
    "ftp://user:hunter2@host/a.mp4",
    "sftp://user:hun@ter2@host/a.mp4",
    "s3://AKIA:hunter2@bucket/a.mp4",
    "https://host/a.mp4?X-Amz-Signature=hunter2",
    "https://host/a.mp4?x=1&X-Amz-Security-Token=hunter2&y=2",
    "s3://bucket/a.mp4?AWSAccessKeyId=hunter2&Signature=hunter2",
    "https://acc.blob.core.windows.net/c/a.mp4?sv=2024&sig=hunter2",
    "https://storage.googleapis.com/b/a.mp4?X-Goog-Credential=hunter2",
    "https://host/a.mp4?access_token=hunter2",
    "https://host/a.mp4#access_token=hunter2",
    "https://host/a.mp4?apikey=hunter2;b=1",
    "https://host/a.mp4?v=hunter2" + "0123456789abcdef" * 4,
    "https://host?token=hunter2",
    "https://host/a.mp4?%74oken=hunter2",
    "https://host/a.mp4?hdnts=exp=1700000000~acl=/*~hmac=hunter2",
    "https://host/a.mp4?q-sign-algorithm=sha1&q-ak=hunter2&q-signature=hunter2",
]
HARMLESS = [
    "s3://bucket/what is this? a film.mp4",
    "s3://bucket/a=b&c?.mp4",
    "https://host/watch?id=3&part=2",
    "https://host/a@b.mp4",
    "sftp://me@host/a.mp4",
    "abfs://container@account.dfs.core.windows.net/a.mp4",
    "gs://bucket/#1.mp4",
    "https://host:8080/a.mp4",
    "http://[::1]:8080/a::b.mp4",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_url_with_credentials_is_refused_and_never_shown(url: str) -> None:
    assert carries_credentials(url)
    with pytest.raises(UsageError) as refusal:
        RemoteUrl.parse(url)
    assert "hunter2" not in str(refusal.value)
    assert "ter2" not in str(refusal.value)
    assert "carries credentials" in str(refusal.value)
    shown = redacted(f"Cannot read '{url}' (again): {url}")
    assert "ter2" not in shown
    assert shown.endswith("***") or "***@" in shown


@pytest.mark.parametrize("url", HARMLESS)
def test_other_urls_are_taken_and_shown_as_they_are(url: str) -> None:
    assert str(RemoteUrl.parse(url)) == url
    assert redacted(f"Reading {url} failed.") == f"Reading {url} failed."


@pytest.mark.parametrize(
    "text", ["/data/a.mp4", "a.mp4", "s3:/bucket/a", "C:\\a.mp4", "", "://a", "1s3://a", "what? a://b"]
)
def test_a_path_is_not_a_url(text: str) -> None:
    assert not is_url(text)


@pytest.mark.parametrize(
    "url",
    [
        "simplecache::s3://AKIA:hunter2@bucket/a.mp4",
        "zip://a.mp4::https://host/a.zip?token=hunter2",
        "zip://a.mp4::s3://AKIA:hunter2@bucket/a.zip",
    ],
)
def test_a_chain_of_file_systems_is_refused_and_its_credentials_are_not_shown(url: str) -> None:
    assert is_url(url)  # a path would be recorded
    with pytest.raises(UsageError, match="one file system") as refusal:
        RemoteUrl.parse(url)
    assert "hunter2" not in str(refusal.value) + redacted(f"Reading {url} failed.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/data", "not a URL"),
        ("s3://", "no bucket"),
        ("s3:///a", "no bucket"),
        ("file:///data/a.mp4", "Pass its path"),
        ("simplecache::s3://bucket/a", "one file system"),
        ("zip://*.mp4::simplecache::s3://bucket/a.zip", "one file system"),
    ],
)
def test_what_names_no_place_elsewhere_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RemoteUrl.parse(text)
