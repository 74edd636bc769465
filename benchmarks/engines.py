"""The cost of a shard with each engine, without extraction, and the time until the first shard.

The videos of the list do not exist: each shard of one video ends as `missing`, nothing is decoded or computed. The rest
is the engine, the store's files of a shard, and, with a server, a Prefect task per shard on SQLite. Ray's two nodes are
processes of this machine.

    python -m benchmarks.engines --shards 1000
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from benchmarks.measuring import machine_facts
from tests.flows.execution.ray_nodes import ray_nodes
from tests.waiting import wait_until

_DONE = re.compile(r"^(\S+ \S+) INFO .*Shard \d+: 0 videos ok, 1 failed", re.MULTILINE)
_PORT = 14221


def main() -> None:
    """Measure in temporary folders and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--without-prefect", action="store_true", help="local and ray alone, without a server")
    arguments = parser.parse_args()
    print(f"{arguments.shards} shards; {machine_facts()}")
    print(f"{'':36}{'start-up':>10}{'per shard':>12}{'in all':>10}")
    _extract("local", arguments.shards, os.environ)
    started = time.monotonic()
    with ray_nodes("127.0.0.2", "127.0.0.3") as nodes:
        print(f"two Ray nodes, started together      {time.monotonic() - started:8.1f} s")
        ray = ("--engine", "ray", "--ray-address", nodes.address)
        _extract("ray, 2 nodes", arguments.shards, nodes.environment, *ray)
        if arguments.without_prefect:
            return
        with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as server:
            _extract("local, Prefect tasks", arguments.shards, server, "--server")
            environment = {**nodes.environment, **_prefect_settings(server)}
            _extract("ray, 2 nodes, Prefect tasks", arguments.shards, environment, "--server", *ray)
            in_ray = ("--server", *ray, "--task-runner", "ray")
            _extract("ray, 2 nodes, Prefect tasks in Ray", arguments.shards, environment, *in_ray)


def _extract(what: str, shards: int, environment: Mapping[str, str], *options: str) -> None:
    server = () if "--server" in options else ("--no-server",)
    with tempfile.TemporaryDirectory() as folder:
        names = "".join(f"{folder}/absent/{number:06d}.mp4\n" for number in range(shards))
        (Path(folder) / "list.txt").write_text(names, encoding="utf-8")
        command = [*(sys.executable, "-m", "reeldex", "extract", "list.txt", "--store", "store"), *server, *options]
        settings = ("--weights", "random", "--extractors", "resnet152", "--shard-videos", "1", "--device", "cpu")
        started = time.time()
        done = subprocess.run(
            [*command, *settings], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.time() - started
    at = [datetime.strptime(each, "%Y-%m-%d %H:%M:%S,%f").timestamp() for each in _DONE.findall(done.stderr)]  # noqa: DTZ007
    if len(at) != shards:
        raise RuntimeError(f"{what}: {len(at)} of {shards} shards were done:\n{done.stderr[-4000:]}")
    _print(what, min(at) - started, (max(at) - min(at)) / max(1, shards - 1), seconds)


def _print(what: str, startup: float, per_shard: float, seconds: float) -> None:
    print(f"{what:36}{startup:8.1f} s{1000 * per_shard:9.1f} ms{seconds:8.1f} s", flush=True)


@contextmanager
def _server(folder: Path) -> Iterator[dict[str, str]]:
    """Start a Prefect server on loopback; return the environment that names it."""
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(_PORT)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        said = (folder / "server.log").read_text
        wait_until(_answers, 120, process=process, details=said)
        yield {**environment, "PREFECT_API_URL": f"http://127.0.0.1:{_PORT}/api"}
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)


def _answers() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", _PORT)) == 0


def _prefect_settings(server: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in server.items() if name.startswith("PREFECT_")}


if __name__ == "__main__":
    main()
