"""Versions of files in object stores, and writes that succeed only while a version is the current one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from reeldex.remote_faults import RemoteError, connected, response_code
from reeldex.remote_urls import RemoteUrl
from reeldex.storage.remote_requests import requested, requested_of_file

_S3 = frozenset({"s3", "s3a"})
_GOOGLE = frozenset({"gs", "gcs"})
_AZURE = frozenset({"az", "abfs", "abfss", "adl"})
# S3's code, and the status of an answer without one.
_REFUSED_CONDITION = frozenset({"PreconditionFailed", "412"})


def version_of(info: Mapping[str, Any]) -> str:
    """Return what an object store says of a file's version: its generation or its tag, or an empty text."""
    return next((str(info[key]) for key in ("generation", "ETag", "etag", "md5Hash") if info.get(key)), "")


def can_compare(url: RemoteUrl) -> bool:
    """Return whether the client of this service can replace a file only while it has a certain version."""
    return url.scheme in _S3 | _GOOGLE | _AZURE


def reads_one_version(url: RemoteUrl) -> bool:
    """Return whether the client reads an open file in the version that was opened, or raises."""
    return url.scheme in _S3


def put_over(url: RemoteUrl, content: bytes, version: str, deadline: float | None = None) -> None:
    """Replace a file that has this version, with a client that `can_compare`; with another one, any version.

    `is_not_current` recognises the error for another version; others are those of `requested`.
    """
    if url.scheme in _GOOGLE:
        _put_over_at_google(url, content, version, deadline)
        return
    condition: dict[str, Any] = {}
    if url.scheme in _AZURE:
        from azure.core import MatchConditions

        condition = {"etag": version, "match_condition": MatchConditions.IfNotModified}
    elif can_compare(url) and version:
        condition = {"IfMatch": version}
    requested_of_file(url, deadline, "pipe_file", content, **condition)


def is_not_current(error: Exception) -> bool:
    """Return whether `put_over` failed because the file has another version or is absent."""
    if isinstance(error, RemoteError):
        return response_code(error) in _REFUSED_CONDITION
    # gcsfs raises the first for another version.
    return isinstance(error, FileExistsError | FileNotFoundError)


def is_there(error: Exception) -> bool:
    """Return whether a creation failed because the file is there."""
    # s3fs raises the first only if the answer names the condition, which MinIO and others leave out.
    return isinstance(error, FileExistsError) or response_code(error) in _REFUSED_CONDITION


def _put_over_at_google(url: RemoteUrl, content: bytes, version: str, deadline: float | None) -> None:
    """Upload an object in one request with a condition, which gcsfs has for creations alone."""
    system, path = connected(url)
    bucket, _, key = path.partition("/")
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps({'name': key})}\r\n"
    head += f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
    requested(
        system,
        url,
        deadline,
        "call",
        "POST",
        f"{system.base.removesuffix('/storage/v1/')}/upload/storage/v1/b/{{}}/o",
        bucket,
        uploadType="multipart",
        ifGenerationMatch=version,
        headers={"Content-Type": f"multipart/related; boundary={boundary}"},
        data=head.encode() + content + f"\r\n--{boundary}--".encode(),
    )
