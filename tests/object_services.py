"""Emulators of Google Cloud Storage and Azure Blob Storage on this machine, behind the counting server of the tests.

They are programs of their own, which the lock files do not have: `make test-object-services` installs them.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.object_store import HEADERS, KEY, SECRET, ObjectStore, serving
from tests.waiting import wait_until

# The account that Azurite has, which its documentation publishes.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


def environment(store: ObjectStore, key: str = ACCOUNT_KEY) -> dict[str, str]:
    """Return the variables with which the clients find a running emulator, and their credentials."""
    if store.scheme == "gs":
        return {"STORAGE_EMULATOR_HOST": store.url, "NO_GCE_CHECK": "true"}
    if store.scheme == "az":
        place = f"BlobEndpoint={store.url}/{ACCOUNT};"
        account = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        return {"AZURE_STORAGE_CONNECTION_STRING": account + place}
    return {
        "AWS_ENDPOINT_URL": store.url,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


@contextmanager
def running(scheme: str) -> Iterator[ObjectStore]:
    """Run the emulator of `gs` or `az` while the block runs; skip the test where it or the client is not installed."""
    pytest.importorskip({"gs": "gcsfs", "az": "adlfs"}[scheme], reason=f"the client of {scheme}:// is not installed")
    program, behind = _program(scheme), _free_port()
    store = ObjectStore(scheme=scheme)
    with serving(store.application(_forwarding(behind))) as store.url:
        process = subprocess.Popen(
            [program, *_options(scheme, behind, store.url)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: _answers(behind, process), 60)
            yield store
        finally:
            process.terminate()
            process.wait()


def url_of(store: ObjectStore, path: str = "some/store") -> str:
    """Return the URL of an object or folder in the bucket of the tests."""
    return f"{store.scheme}://lab/{path}"


def client(store: ObjectStore) -> Any:  # noqa: ANN401 - fsspec's
    """Return a plain client of a server, which does not go through reeldex."""
    import fsspec

    return fsspec.filesystem(store.scheme, skip_instance_cache=True, use_listings_cache=False)


def make_place(store: ObjectStore, place: str) -> None:
    """Make an empty bucket or container."""
    if store.scheme != "gs":
        client(store).mkdir(place)
        return
    request = urllib.request.Request(  # noqa: S310 - of this machine
        f"{store.url}/storage/v1/b?project=p",
        data=f'{{"name": "{place}"}}'.encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()  # noqa: S310


def remove_place(store: ObjectStore, place: str) -> None:
    """Remove a bucket or container with all that it holds."""
    plain = client(store)
    for path in plain.find(place):
        plain.rm_file(path)
    plain.rmdir(place)


def _program(scheme: str) -> str:
    found = shutil.which({"gs": "fake-gcs-server", "az": "azurite-blob"}[scheme])
    if found is None:
        pytest.skip(f"the emulator of {scheme}:// is not installed (make test-object-services)")
    return found


def _options(scheme: str, port: int, url: str) -> list[str]:
    if scheme == "gs":
        return f"-backend memory -scheme http -host 127.0.0.1 -port {port} -external-url {url}".split()
    place = f"--inMemoryPersistence --blobHost 127.0.0.1 --blobPort {port}"
    return f"{place} --silent --skipApiVersionCheck --disableTelemetry".split()


def _forwarding(port: int) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that passes requests on to a server of this machine."""

    def answer(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        # As they came: an environment of WSGI has no names with underscores.
        headers = {name: value for name, value in environment[HEADERS].items() if name.lower() != "transfer-encoding"}
        body = environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(environment["REQUEST_METHOD"], environment["RAW_URI"], body or None, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        given = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP]
        length = response.getheader("Content-Length") if environment["REQUEST_METHOD"] == "HEAD" else str(len(content))
        start(f"{response.status} {response.reason}", [*given, *([("Content-Length", length)] if length else [])])
        return [content]

    return answer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        pytest.fail(f"the emulator ended with status {process.returncode}")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
