"""Weights from a folder and from a real HTTP server on this machine, good, cut off, silent or absent."""

from __future__ import annotations

import hashlib
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from reeldex.extractors import weights
from reeldex.extractors.errors import WeightsError
from reeldex.extractors.weights import PretrainedWeights, find_or_fetch, load_state, sha256_of_state, verify
from tests.system_faults import make_unreadable

BODY = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()
NAMED = f"net-{DIGEST[:8]}.pth"


def published(url: str) -> PretrainedWeights:
    return PretrainedWeights("v1", url)


class Handler(BaseHTTPRequestHandler):
    """Answers with `BODY`; under /cut/ only its first half, under /long/ all of it without saying how long it is."""

    def do_GET(self) -> None:
        if self.path.startswith("/gone/"):
            self.send_error(404)
            return
        self.send_response(200)
        if not self.path.startswith("/long/"):
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[: len(BODY) // 2] if self.path.startswith("/cut/") else BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives it
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_weights_that_lie_in_the_folder_are_taken_without_a_network(tmp_path: Path) -> None:
    (tmp_path / NAMED).write_bytes(BODY)
    assert find_or_fetch(published(f"http://127.0.0.1:9/{NAMED}"), folder=tmp_path) == tmp_path / NAMED


def test_a_download_is_kept_and_marked_with_its_hash(server: str, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"
    path = find_or_fetch(published(f"{server}/net.pth"), folder=folder)
    assert path.read_bytes() == BODY
    assert (folder / "net.pth.sha256").read_text().strip() == DIGEST
    assert sorted(each.name for each in folder.iterdir()) == ["net.pth", "net.pth.sha256"]
    assert find_or_fetch(published("http://127.0.0.1:9/net.pth"), folder=folder) == path, "fetched once"


def test_the_progress_of_a_download_is_told(server: str, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    find_or_fetch(published(f"{server}/net.pth"), None, tmp_path, lambda *told: calls.append(told))
    assert calls.pop() == ("net.pth", len(BODY), len(BODY))
    calls.clear()
    find_or_fetch(published(f"{server}/net.pth"), None, tmp_path, lambda *told: calls.append(told))
    assert calls == [], "nothing is downloaded again"
    find_or_fetch(published(f"{server}/long/other.pth"), None, tmp_path, lambda *told: calls.append(told))
    assert calls.pop() == ("other.pth", len(BODY), None)


@pytest.mark.parametrize("name", ["long/net.pth", f"long/{NAMED}"])
def test_a_server_need_not_say_how_long_the_file_is(server: str, tmp_path: Path, name: str) -> None:
    assert find_or_fetch(published(f"{server}/{name}"), folder=tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("name", ["cut/net.pth", f"cut/{NAMED}", "net-00000000.pth", "gone/net.pth"])
def test_a_download_that_is_cut_off_wrong_or_refused_leaves_nothing(server: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=r"could not be downloaded from http.*--weights random"):
        find_or_fetch(published(f"{server}/{name}"), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="could not be downloaded"):
        find_or_fetch(published(f"{server}/net.pth"), folder=tmp_path / "file" / "weights")


def test_a_server_that_is_not_there_is_told_with_file_folder_and_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with pytest.raises(WeightsError) as raised:
        find_or_fetch(published(f"http://127.0.0.1:{port}/net.pth"), folder=tmp_path)
    for part in ("net.pth", str(tmp_path), f"http://127.0.0.1:{port}/net.pth", "--weights random"):
        assert part in str(raised.value)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_NETWORK_TIMEOUT_SECONDS", 0.5)
    before = socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/net.pth"
        with pytest.raises(WeightsError, match="timed out"):
            find_or_fetch(published(url), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert socket.getdefaulttimeout() == before, "other connections of this process keep their own limit"


def test_a_hash_in_the_name_that_differs_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAMED).write_bytes(BODY + b"!")
    with pytest.raises(WeightsError, match=rf"{NAMED}.*damaged.*expected {DIGEST[:8]}"):
        find_or_fetch(published(f"http://127.0.0.1:9/{NAMED}"), folder=tmp_path)


def test_a_mark_beside_the_file_is_held_against_it(tmp_path: Path) -> None:
    file, mark = tmp_path / "net.pth", tmp_path / "net.pth.sha256"
    file.write_bytes(BODY)
    mark.write_text(f"{DIGEST}\n")
    assert verify(file) == DIGEST
    mark.write_text("0" * 64)
    with pytest.raises(WeightsError, match=r"Delete the file and net\.pth\.sha256"):
        verify(file)
    mark.unlink()
    assert verify(file) == DIGEST, "without a name or a mark there is nothing to hold against it"


def test_a_path_from_the_configuration_is_never_downloaded(server: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights\.files"):
        find_or_fetch(published(f"{server}/net.pth"), local_path=tmp_path / "mine.pth", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


class Trap:
    """Unpickled without care, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, save: Callable[[object, Path], None]) -> None:
    marker = tmp_path / "was run"
    save({"conv1.weight": torch.zeros(1), "trap": Trap(marker)}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="read safely"):
        load_state(tmp_path / "net.pth")
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"net\.pth is not a PyTorch checkpoint"):
        load_state(tmp_path / "net.pth")


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3, "state": {"w": torch.zeros(1)}}])
def test_a_checkpoint_that_is_no_plain_state_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="does not contain a plain state dict"):
        load_state(tmp_path / "net.pth")


def test_a_states_hash_hangs_on_names_types_shapes_and_bytes_but_not_on_order() -> None:
    one, two = np.arange(6, dtype=np.float32), np.zeros(2, np.int64)
    reference = sha256_of_state({"a": one, "b": two})
    assert sha256_of_state({"b": two, "a": one}) == reference
    others: list[dict[str, object]] = [
        {"a": one, "c": two},
        {"a": one.reshape(2, 3), "b": two},
        {"a": one.view(np.int32), "b": two},
        {"a": one + 1, "b": two},
        {"a": one},
    ]
    assert len({reference, *(sha256_of_state(other) for other in others)}) == 6


def test_weights_on_a_broken_disk_are_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({}, path)
    make_unreadable(path)
    with pytest.raises(WeightsError, match=r"cannot be read: Input/output error.*not known to be damaged") as raised:
        load_state(path)
    assert "Delete it" not in str(raised.value)


@pytest.mark.parametrize("written", ["", "abc", "not a hash at all"])
def test_a_mark_that_is_no_hash_does_not_switch_the_check_off(tmp_path: Path, written: str) -> None:
    file, mark = tmp_path / "net.pth", tmp_path / "net.pth.sha256"
    file.write_bytes(BODY)
    mark.write_text(written)
    with pytest.raises(WeightsError, match=r"net\.pth\.sha256 does not contain a SHA-256"):
        verify(file)
