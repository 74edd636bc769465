"""Ray clusters of tests: each node is a `ray start` of its own, on a loopback address of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import process_tree, processes_that_name
from tests.waiting import wait_until

_ROOT = Path(__file__).resolve().parents[3]
_FIRST_NODE = "127.0.0.2"

# Ray listens on every address of the machine: nobody without the token is served. Ray reads it when it is imported.
os.environ.update(RAY_AUTH_MODE="token", RAY_USAGE_STATS_ENABLED="0")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


class RayNodes:
    """A cluster; `environment` is that of its nodes and of `programs` that use it, `address` that of its head node."""

    def __init__(self, folder: Path, path: str) -> None:
        self._folder = folder
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.programs: list[subprocess.Popen[str]] = []
        self._port = _free_port(_FIRST_NODE)
        self._mark = f"nodes-{secrets.token_hex(8)}"
        self.address = f"{_FIRST_NODE}:{self._port}"
        self.environment = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }

    def start(self, *names: str, gpus: int = 0) -> None:
        """Start the nodes at these loopback addresses, such as 127.0.0.3; the head node is 127.0.0.2."""
        for name in names:
            self._start(name, gpus)
            if name == _FIRST_NODE:
                wait_until(self._answers, 120, process=self._nodes[name], details=self._log(name).read_text)
        for name in names:
            text = self._log(name).read_text
            wait_until(lambda text=text: "Ray runtime started" in text(), 120, process=self._nodes[name], details=text)  # type: ignore[misc]

    def restore(self, *names: str) -> None:
        """Start those of the nodes that were killed; all, if the head node was."""
        if _FIRST_NODE not in self._nodes:
            self.stop()
        self.start(*(name for name in names if name not in self._nodes))

    def _start(self, name: str, gpus: int) -> None:
        where = ["--head", f"--port={self._port}", "--include-dashboard=false", f"--temp-dir={self._folder}"]
        command = [
            *(sys.executable, str(Path(sysconfig.get_path("scripts")) / "ray"), "start", "--block"),
            *(where if name == _FIRST_NODE else [f"--address={self.address}"]),
            *(
                f"--node-ip-address={name}",
                f"--num-cpus={max(1, gpus)}",
                f"--num-gpus={gpus}",
                "--object-store-memory=80000000",
            ),
            # Ports that the system chooses: Ray's own range is that of all clusters of the machine.
            *("--include-log-monitor=false", "--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
        ]
        environment = {**self.environment, "TEST_NODE": f"{self._mark}/{name}/"}
        with self._log(name).open("wb") as log:
            self._nodes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((_FIRST_NODE, self._port)) == 0

    def kill(self, name: str) -> None:
        """Kill a node as a power failure does: all its processes at once."""
        node = self._nodes.pop(name)
        # Ray's agents overwrite their environment with their title: they are found as descendants.
        below = {process.pid for process in process_tree(node.pid)} if node.poll() is None else set[int]()
        for process in below.union(processes_that_name(f"{self._mark}/{name}/")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        node.wait(30)

    def daemons(self) -> set[int]:
        """Return the ids of Ray's own programs on the nodes, which outlive the workers of a run."""
        return {*processes_that_name(self._mark)} & {*processes_that_name("/ray/core/src/ray/")}

    def stop(self) -> None:
        """Kill all nodes."""
        for name in list(self._nodes):
            self.kill(name)


@contextmanager
def ray_nodes(*names: str, path: str | None = None) -> Iterator[RayNodes]:
    """Start a cluster of nodes at these loopback addresses, the first of which is 127.0.0.2, with a PATH of theirs."""
    # A socket's path is at most 107 bytes long, of which Ray needs most.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    nodes = RayNodes(folder, path or os.environ["PATH"])
    try:
        nodes.start(*names)
        yield nodes
    finally:
        nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
