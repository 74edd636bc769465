"""URLs of files: which texts are URLs, what of them may be shown, and where the credentials for one belong.

Credentials come from the environment alone: a URL that carries some is refused, because URLs are recorded in stores
and shown in logs.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from reeldex.errors import UsageError

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
_SERVICES = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "az"),
}
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
        service_of(scheme) or "", f"Set them in the environment, as fsspec's file system {scheme}:// reads them."
    )


def endpoint_variables(scheme: str) -> str:
    """Return which variables of the environment say where the service of a scheme is."""
    return _ENDPOINTS.get(service_of(scheme) or "", f"as fsspec's file system {scheme}:// reads it")


def service_of(scheme: str) -> str | None:
    """Return the service whose client reads URLs of a scheme: `s3`, `gs` or `az`, None for another one."""
    return _SERVICES.get(scheme)


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
