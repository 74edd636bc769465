"""Files at URLs: which texts are URLs, what of them may be shown, and the file system that one names.

Any URL of fsspec is admitted. Credentials come from the environment alone: a URL that carries some is refused, because
URLs are recorded in stores and shown in logs. No client is loaded before it is used.
"""

from __future__ import annotations

import functools
import logging
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reeldex.errors import UsageError

if TYPE_CHECKING:
    import fsspec

log = logging.getLogger(__name__)

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]+://")
# Between the file systems of a chain.
_CHAINED = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]*(?:://|::))")
# A URL within a text: of prose around it, quotes, brackets and white space are not part of it.
_URL_WITHIN = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]+://[^\s'"<>`]+""")
_WEB = frozenset({"http", "https"})
# Names of the parameters of signed URLs: AWS (v4, v2), Google Cloud, Azure (SAS), CloudFront, Akamai, Tencent, and
# tokens of others.
_SECRET_PARAMETERS = re.compile(
    r"(x-amz-|x-goog-|x-ms-).*|sig|awsaccesskeyid|googleaccessid|policy|key-pair-id|hdn(ts|tl|ea)|"
    r".*(token|secret|signature|password|passwd|api[-_]?key|access[-_]?key|credential|authorization|hmac).*|"
    r"pwd|auth|key|sas|jwt|q-(sign|ak).*",
    re.IGNORECASE,
)
# Longer values than this that look random are taken for secrets, whatever their name.
_LONGEST_HARMLESS = 40
_HIDDEN = "***"
_DISTRIBUTIONS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "az"),
}
# `remote_faults.attempted` repeats requests, with pauses; five attempts of the client for each would take minutes, and
# one whose answer was lost would meet its own work. `_set_up` has the clients that take no such option.
_CLIENT_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"retries": {"total_max_attempts": 1}}}}
_CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the environment of every process that "
    "opens it; FSSPEC_S3_ANON=true reads a public bucket without any.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS to a key file in the environment of every process that opens it, or run "
    "`gcloud auth application-default login`.",
    "az": "Set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or "
    "AZURE_STORAGE_SAS_TOKEN, in the environment of every process that opens it.",
}
_ENDPOINTS = {
    "s3": "AWS_REGION, AWS_ENDPOINT_URL",
    "gs": "STORAGE_EMULATOR_HOST, unset for Google Cloud",
    "az": "AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT_NAME",
}
# What these clients log is in the errors that they raise, too: at each attempt, with a traceback.
_LOUD = {"gs": ("gcsfs",), "az": ("azure",)}
_PLACE_UNTOLD = frozenset({"gs", "az"})
# Buckets that have answered, so that an absent file in one is not taken for an absent bucket.
_PRESENT: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class RemoteUrl:
    """A URL without credentials: its scheme in lower case, and the rest of it as it was given.

    `str()` is the whole URL. Raises UsageError, without showing them, for a URL with credentials; also for a chain of
    file systems (`simplecache::s3://...`), for a URL of a local file and for one that names nothing.
    """

    scheme: str
    rest: str

    def __post_init__(self) -> None:
        shown = redacted(str(self))
        if _CHAINED.search(str(self)) or not _URL.fullmatch(f"{self.scheme}://"):
            raise UsageError(f"{shown} is not a URL of one file system. Write it as scheme://place/path.")
        if self.scheme in {"file", "local"}:
            raise UsageError(f"{shown} is a file of this machine. Pass its path, without {self.scheme}://.")
        if not self.place:
            raise UsageError(f"{shown} names no bucket or host. Write it as {self.scheme}://place/path.")
        if carries_credentials(str(self)):
            raise UsageError(
                f"{shown} carries credentials, which would be recorded in stores and logs. Pass the URL without them. "
                f"{credentials_advice(self.scheme)}"
            )

    @classmethod
    def parse(cls, text: str) -> RemoteUrl:
        """Return a text as a URL; raises UsageError for any other text."""
        scheme, mark, rest = text.strip().partition("://")
        if not mark:
            raise UsageError(f"{text!r} is not a URL. Write it as scheme://place/path.")
        return cls(scheme.lower(), rest)

    @property
    def place(self) -> str:
        """The bucket, container or host."""
        return self.rest.partition("/")[0]

    @property
    def is_web(self) -> bool:
        """Whether it is a URL of the web (http, https), which has no folders."""
        return self.scheme in _WEB

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}"


def is_url(text: str) -> bool:
    """Return whether a text has the form of a URL, such as `https://host/a.mp4` or `s3://bucket/a.mp4`.

    Also of a chain (`simplecache::s3://bucket/a.mp4`), which RemoteUrl then refuses.
    """
    return _URL.match(text.strip()) is not None


def carries_credentials(url: str) -> bool:
    """Return whether a URL has a password, a user of the web, or a parameter that looks like a signature or a token."""
    scheme, _, rest = url.partition("://")
    user, at, _ = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
    if at and (":" in user or scheme.lower() in _WEB):
        return True
    return any(_is_secret(name, value) for name, value in _parameters(rest))


def redacted(text: str) -> str:
    """Return a text with the credentials of all URLs in it replaced by `***`."""
    return _URL_WITHIN.sub(lambda match: "::".join(map(_redacted_url, _CHAINED.split(match[0]))), text)


def credentials_advice(scheme: str) -> str:
    """Return where credentials for URLs of this scheme belong, as a sentence."""
    if scheme in _WEB:
        return "Put them into ~/.netrc, or use a URL that needs none."
    return _CREDENTIALS.get(
        _EXTRAS.get(scheme, ""), f"Set them in the environment, as fsspec's file system {scheme}:// reads them."
    )


def endpoint_variables(scheme: str) -> str:
    """Return which variables of the environment say where the service of a scheme is."""
    return _ENDPOINTS.get(_EXTRAS.get(scheme, ""), f"as fsspec's file system {scheme}:// reads it")


def require_client(url: RemoteUrl) -> None:
    """Raise UsageError when the client of a URL is not installed or fsspec knows no such scheme; does not connect."""
    with _refusals(url):
        _class_of(url.scheme)


@functools.cache
def _class_of(scheme: str) -> type[fsspec.AbstractFileSystem]:
    import fsspec

    found: type[fsspec.AbstractFileSystem] = fsspec.get_filesystem_class(scheme)
    return found


@contextmanager
def _refusals(url: RemoteUrl) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{url} needs {_missing(url.scheme, error)}") from error
    except ValueError as error:
        remedy = credentials_advice(url.scheme) if url.scheme in _EXTRAS else "Check its scheme."
        raise UsageError(f"{url} cannot be opened: {redacted(str(error)).rstrip('.!')}. {remedy}") from error


def open_file_system(url: RemoteUrl, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:  # noqa: ANN401 - fsspec's
    """Return the file system of a URL and the path that it has there.

    Those of object stores make no request; others, such as ftp and sftp, connect, and raise what their client raises.
    `options` are those of the file system beside the credentials, which it takes from the environment. Listings are
    not cached. Raises UsageError when its client is not installed or fsspec knows no such scheme.
    """
    import fsspec.core

    with _refusals(url):
        defaults = _CLIENT_OPTIONS.get(_EXTRAS.get(url.scheme, ""), {})
        system, path = fsspec.core.url_to_fs(str(url), use_listings_cache=False, **{**defaults, **options})
    for name in _LOUD.get(_EXTRAS.get(url.scheme, ""), ()):
        if (client_log := logging.getLogger(name)).level == logging.NOTSET:
            client_log.setLevel(logging.CRITICAL)
    _set_up(system, url.scheme)
    return system, str(path)


def place_is_absent(url: RemoteUrl) -> bool:
    """Ask whether the bucket of a URL is absent, of a client that reports one as an absent file; False for others.

    At Google Cloud, listing its objects needs no right that a store does not need anyway.
    """
    service, place = _EXTRAS.get(url.scheme), (url.scheme, url.place)
    if service not in _PLACE_UNTOLD or place in _PRESENT:
        return False
    system, _ = open_file_system(url)
    try:
        if service == "gs":
            system.call("GET", "b/{}/o", url.place, maxResults=1)
        else:
            system.info(url.place)
    except FileNotFoundError:
        return True
    except Exception as error:  # noqa: BLE001 - clients raise what they like
        log.debug("Whether the bucket of %s exists is not known: %s", url, redacted(str(error)))
        return False
    _PRESENT.add(place)
    return False


def path_within(system: fsspec.AbstractFileSystem, url: str) -> str:
    """Return the path of a URL in its file system, as it is in listings."""
    return str(system._strip_protocol(url))  # noqa: SLF001 - fsspec has no other name for it


def within_seconds(
    system: fsspec.AbstractFileSystem,
    method: str,
    seconds: float,
    *given: Any,  # noqa: ANN401 - fsspec's
    **arguments: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Return what a method of a file system returns for the `given` arguments.

    Raises TimeoutError when that takes longer, of file systems that can be interrupted: those of the object stores.
    """
    import fsspec.asyn

    if getattr(system, "async_impl", False):
        request = getattr(system, f"_{method}")
        return fsspec.asyn.sync(system.loop, request, *given, timeout=seconds, **arguments)
    return getattr(system, method)(*given, **arguments)


def let_client_finish(system: fsspec.AbstractFileSystem) -> None:
    """Return once the thread of a file system's client, if it has one, has ended what it is doing now."""
    import fsspec.asyn

    if getattr(system, "async_impl", False):
        fsspec.asyn.sync(system.loop, _nothing)


def _set_up(system: Any, scheme: str) -> None:  # noqa: ANN401 - fsspec's
    """Let a client try each request once, for which gcsfs and adlfs have no option, and take names as they are."""
    service = _EXTRAS.get(scheme)
    if service == "gs" and "_request" not in vars(system):
        once = getattr(type(system)._request, "__wrapped__", None)  # noqa: SLF001
        if once is not None:
            system._request = functools.partial(once, system)  # noqa: SLF001
        # Else `folder#1` would be the first version of `folder`.
        system.version_aware = False
    if service == "az":
        policy = getattr(getattr(system.service_client, "_config", None), "retry_policy", None)
        if policy is not None:
            policy.total_retries = 0


async def _nothing() -> None:
    pass


def _missing(scheme: str, error: ImportError) -> str:
    extra = _EXTRAS.get(scheme)
    if extra is None:
        return f"a package that is not installed: {str(error).rstrip('.')}."
    return f"the package {_DISTRIBUTIONS[extra]}. Install it with `pip install 'reeldex[{extra}]'`."


def _parameters(rest: str) -> list[tuple[str, str]]:
    """Return the parameters after `?` and `#`. An object's name may contain both: then they look like none."""
    query = re.split(r"[?#]", rest, maxsplit=1)[1:]
    parts = [part for text in query for part in re.split(r"[&;?#]", text)]
    return [(name, value) for name, mark, value in (part.partition("=") for part in parts) if mark]


def _is_secret(name: str, value: str) -> bool:
    if not value:
        return False
    if _SECRET_PARAMETERS.fullmatch(urllib.parse.unquote(name)):
        return True
    return len(value) > _LONGEST_HARMLESS and re.fullmatch(r"[A-Za-z0-9+/=_.~%-]+", value) is not None


def _redacted_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    end = next((match.start() for match in re.finditer(r"[/?#]", rest)), len(rest))
    user, at, host = rest[:end].rpartition("@")
    if at and (":" in user or scheme.lower() in _WEB):
        rest = f"{_HIDDEN}@{host}{rest[end:]}"
    if any(_is_secret(name, value) for name, value in _parameters(rest)):
        rest = f"{re.split(r'[?#]', rest, maxsplit=1)[0]}?{_HIDDEN}"
    return f"{scheme}://{rest}"
