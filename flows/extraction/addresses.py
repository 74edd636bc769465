"""Videos at URLs: their spelling, and the names that ids and patterns see of them."""

from __future__ import annotations

import re
import urllib.parse

from reeldex.errors import UsageError
from reeldex.remote_files import require_client
from reeldex.remote_urls import RemoteUrl, is_url

_PORTS = {"http": ":80", "https": ":443"}


def address_of(text: str) -> str:
    """Return a URL as it is recorded: with its scheme, and the host of the web, in lower case; without a fragment.

    Raises UsageError for one with credentials, of an unknown scheme, or that names nothing.
    """
    parsed = RemoteUrl.parse(text)
    if not parsed.is_web:
        require_client(parsed)
        return str(parsed)
    rest = parsed.rest.partition("#")[0]
    host = re.split(r"[/?]", rest, maxsplit=1)[0]
    try:
        split = urllib.parse.urlsplit(f"{parsed.scheme}://{host}")
        known = split.hostname and split.port != 0 and not re.search(r"[\s\\]", host)
    except ValueError:
        known = False
    if not known:
        raise UsageError(f"{str(parsed)!r} is not a URL of the web: {host!r} is not a host. Correct it.")
    return str(RemoteUrl(parsed.scheme, host.lower().removesuffix(_PORTS[parsed.scheme]) + rest[len(host) :]))


def joined(folder: str, written: str) -> str:
    """Return the URL of a path that is relative to a folder's; of a URL, the URL itself."""
    if is_url(written):
        return address_of(written)
    parsed = RemoteUrl.parse(folder)
    if parsed.is_web:
        return address_of(urllib.parse.urljoin(f"{folder}/", urllib.parse.quote(written, safe="/%?=&+:@!$'()*,;~")))
    parts = parsed.rest.split("/") if not written.startswith("/") else [parsed.place]
    for part in written.split("/"):
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part not in {"", ".", ".."}:
            parts.append(part)
    return address_of(f"{parsed.scheme}://{'/'.join(parts)}")


def path_in(url: str) -> str:
    """Return the place of a URL and the path in it, as an id may contain them: without empty, `.` and `..` parts."""
    rest = RemoteUrl.parse(url).rest
    return "/".join(part for part in rest.split("/") if part.strip(".")) or rest.strip("/")


def path_below_place(url: str) -> str:
    """Return the path of a URL as `path_in` does, without the host or bucket; of the web, decoded."""
    parts = path_in(url).split("/")[1:]
    return "/".join(map(_decoded, parts) if RemoteUrl.parse(url).is_web else parts)


def is_web_folder(url: str) -> bool:
    """Return whether a URL of the web names a host or a folder, by its form; with parameters, it may be any file."""
    split = urllib.parse.urlsplit(url)
    return RemoteUrl.parse(url).is_web and not split.query and split.path[-1:] in {"", "/"}


def file_name(url: str) -> str:
    """Return the name of the file at a URL; of the web, decoded and without parameters."""
    parsed = RemoteUrl.parse(url)
    path = re.split(r"[?#]", parsed.rest)[0] if parsed.is_web else parsed.rest
    name = path.rstrip("/").rpartition("/")[2]
    return _decoded(name) if parsed.is_web else name


def _decoded(part: str) -> str:
    """Return a part of a path of the web without percent signs, where that is a part of a path, too."""
    decoded = urllib.parse.unquote(part, errors="strict") if _is_utf8(part) else part
    return part if re.search(r"[\x00-\x1f/]", decoded) or not decoded.strip(".") else decoded


def _is_utf8(name: str) -> bool:
    try:
        urllib.parse.unquote(name, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
