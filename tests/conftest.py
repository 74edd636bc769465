"""What every test needs: a Prefect, caches and device locks that are not the user's, markers, and small real videos."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import certifi
import pytest

from reeldex.garbage_collection import permanent_objects, skip_garbage_collection_at_exit
from tests import object_services, object_store
from tests.cache import CACHE, cache_of_a_test
from tests.object_store import ObjectStore

# Before anything imports Prefect: its settings and database are this run's own.
for name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[name]


def _ffmpeg() -> str:
    """Return the ffmpeg of the tests: that of the folder FFMPEG, or else the one of imageio-ffmpeg.

    Distributions' link a hundred libraries, and take four times as long to start.
    """
    if named := os.environ.get("FFMPEG"):
        os.environ["FFMPEG"] = folder = str(Path(named).resolve())  # for tests that start pytest elsewhere
        program = shutil.which("ffmpeg", path=folder)
        if program is None:
            raise pytest.UsageError(f"FFMPEG names the folder {folder}, which has no program ffmpeg.")
        return program
    try:
        import imageio_ffmpeg

        return str(Path(imageio_ffmpeg.get_ffmpeg_exe()).resolve(strict=True))
    except (ImportError, RuntimeError, OSError) as error:
        raise pytest.UsageError(
            f"The tests use the ffmpeg of imageio-ffmpeg, which is not available ({error}). Install that package, or "
            "name the folder of another ffmpeg: FFMPEG=/usr/bin"
        ) from error


_FFMPEG = _ffmpeg()
_STATE = Path(tempfile.mkdtemp(prefix="reeldex-test-state-"))
# One certificate instead of all: each client of Prefect reads them for 20 ms, also where its server has none, and a
# flow run makes a dozen clients. No test speaks to a server outside this machine.
_CERTIFICATE = _STATE / "certificate.pem"
_END = "-----END CERTIFICATE-----\n"
_CERTIFICATE.write_text(Path(certifi.where()).read_text(encoding="utf-8").partition(_END)[0] + _END, encoding="utf-8")
# Before all others, so that it is the same on every machine.
(_STATE / "ffmpeg").mkdir()
(_STATE / "ffmpeg/ffmpeg").symlink_to(_FFMPEG)
os.environ.pop("TORCH_HOME", None)
os.environ.update(
    # Neither read nor written by tests: the user's caches of weights, converted networks and word vectors.
    XDG_CACHE_HOME=str(CACHE),
    # Device locks are the tests' own too: a run of the user's would hold them up.
    XDG_STATE_HOME=str(_STATE),
    PREFECT_HOME=str(_STATE / "prefect"),
    SSL_CERT_FILE=str(_CERTIFICATE),
    PATH=f"{_STATE / 'ffmpeg'}{os.pathsep}{os.environ['PATH']}",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_LOGGING_LEVEL="CRITICAL",
    DO_NOT_TRACK="1",
    PYTHONPATH=os.pathsep.join(
        [str(Path(__file__).parent / "networks"), *filter(None, [os.environ.get("PYTHONPATH")])]
    ),
    # As the commands set it. A test that runs a flow leaves Prefect's log handler to those that work without one.
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW="ignore",
)


def _begins_with_system_tests(process: str, processes: int) -> bool:
    """Whether a process of pytest-xdist, such as "gw0", is of the half that begins with the tests that mostly wait."""
    return int(process.removeprefix("gw")) < max(1, processes // 2)


if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers and their child processes share the cores; without this each would start a thread per core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not _begins_with_system_tests(os.environ["PYTEST_XDIST_WORKER"], int(os.environ["PYTEST_XDIST_WORKER_COUNT"])):
        # At a lower priority, computing does not slow down the tests that watch servers.
        os.nice(5)

# A shell that starts the tests in the background has them ignore Ctrl-C, `nohup` has them ignore SIGHUP, and all they
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

MakeVideo = Callable[..., Path]

_SYSTEM_TESTS = "tests/system/"
# Its tests share a server, so that they are run one after the other by one process.
_SHARED_UP = f"{_SYSTEM_TESTS}shared_up/"
# Those that take longest begin: one of them alone at the end would leave a core idle.
_FIRST = (_SHARED_UP, f"{_SYSTEM_TESTS}test_own_server.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-gpu",
        action="store_true",
        default=os.environ.get("REELDEX_REQUIRE_GPU", "") not in ("", "0"),
        help="fail the tests marked `gpu` where there is no CUDA device, instead of skipping them "
        "(also: REELDEX_REQUIRE_GPU=1)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exclude all that is imported for the tests from garbage collection, until the exit of this process."""
    skip_garbage_collection_at_exit()
    with permanent_objects():
        return (yield)


def pytest_report_header() -> str:
    from reeldex.extractors import ffmpeg

    return f"ffmpeg: {ffmpeg.version()} ({ffmpeg.executable()})"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ANN401 - a WorkerController of pytest-xdist
    """Say how a process of the tests ended that should not have: pytest-xdist says no more than that it did."""
    if error:
        status = node.gateway._io.popen.wait(10)
        sys.stderr.write(f"\n{node.gateway.id} ended with exit status {status} (negative: the number of a signal)\n")


def _unit(nodeid: str) -> str:
    """Return what is run by one process, one test after the other: a file, or the files that share a server."""
    return _SHARED_UP if nodeid.startswith(_SHARED_UP) else nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and order files: quick ones, those that wait for servers, slow ones that compute.

    The scheduler below takes them from the end, but for the processes that wait. Files with many slow tests, most of
    which compute, alternate with files with few, most of which wait: at the same time, they keep every core busy.
    """
    for item in items:
        if item.nodeid.startswith(_SYSTEM_TESTS):
            item.add_marker(pytest.mark.system)
    slow = Counter(
        _unit(item.nodeid) for item in items if item.get_closest_marker("slow") or item.get_closest_marker("system")
    )

    computing = sorted((slow[unit], unit) for unit in slow if not unit.startswith(_SYSTEM_TESTS))
    half = len(computing) // 2
    pairs = zip_longest(computing[:half], reversed(computing[half:]))
    turn = {unit: position for position, (_, unit) in enumerate(filter(None, chain.from_iterable(pairs)))}

    def place(item: pytest.Item) -> tuple[int, int, str]:
        unit = _unit(item.nodeid)
        if unit.startswith(_SYSTEM_TESTS):
            return (1, -slow.total() if unit in _FIRST else -slow[unit], unit)
        return (2 if unit in turn else 0, turn.get(unit, 0), unit)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401 - of pytest-xdist
    """Let half of the processes begin with the tests that wait, the others with those that compute: they fit together.

    All end with the quick files, which keep every core busy until the last test that waits is done.
    """
    from xdist.scheduler import LoadScopeScheduling

    class QuickLast(LoadScopeScheduling):  # type: ignore[misc] # it publishes no types
        def _split_scope(self, nodeid: str) -> str:
            return _unit(nodeid)

        def _assign_work_unit(self, node: Any) -> None:  # noqa: ANN401
            taken = next(reversed(self.workqueue))
            if _begins_with_system_tests(node.gateway.id, config.getoption("numprocesses")):
                taken = next((unit for unit in self.workqueue if unit.startswith(_SYSTEM_TESTS)), taken)
            self.workqueue.move_to_end(taken, last=False)
            super()._assign_work_unit(node)

    return QuickLast(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if torch.cuda.is_available():
        return
    reason = "PyTorch sees no CUDA device"
    if item.config.getoption("--require-gpu"):
        pytest.fail(f"{reason}, and --require-gpu or REELDEX_REQUIRE_GPU asks for one", pytrace=False)
    pytest.skip(reason)


def pytest_unconfigure() -> None:
    """Remove the state, also that of the process that only hands the tests to others."""
    shutil.rmtree(_STATE, ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Undo what a command that runs in this process does to our logger; `caplog` sees only what propagates."""
    logger = logging.getLogger("reeldex")
    logger.propagate = True
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.propagate = True
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture(scope="session")
def make_video() -> MakeVideo:
    """Make a video of ffmpeg's test picture: `make_video(path, seconds=1.0, size="160x120", rate=25)`."""
    from tests.videos import cached_video

    def make(
        path: Path, seconds: float = 1.0, size: str = "160x120", rate: int = 25, picture: str = "testsrc2"
    ) -> Path:
        source = f"{picture}=size={size}:rate={rate}:duration={seconds}"
        return cached_video(path, "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p")

    return make


class Answer(NamedTuple):
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command answers
        return json.loads(self.out)


Reeldex = Callable[..., Answer]


@pytest.fixture
def reeldex(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reeldex:
    """Run `reeldex` in an empty folder: `reeldex("status", store, "--json")`."""
    from reeldex.cli.main import main

    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return run


@pytest.fixture
def mixed_folder(tmp_path: Path, make_video: MakeVideo) -> Path:
    """Two good videos and one of each kind of broken file."""
    from tests.videos import cached_video

    folder = tmp_path / "videos"
    good = make_video(folder / "good one.mp4", seconds=1.2)
    make_video(folder / "-größe.mkv", seconds=0.3, size="96x128")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is no video\n", encoding="utf-8")
    (folder / "cut off.mp4").write_bytes(good.read_bytes()[:2000])
    (folder / "playlist.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{good}\n#EXT-X-ENDLIST\n", encoding="utf-8"
    )
    cached_video(folder / "sound only.mp4", "-f", "lavfi", "-i", "sine=duration=1")
    whole = make_video(tmp_path / "whole.mkv", seconds=9.0, size="320x240")
    (folder / "truncated.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    os.mkfifo(folder / "pipe.mp4")
    return folder


@pytest.fixture(scope="session")
def _object_store() -> Iterator[ObjectStore]:
    pytest.importorskip("s3fs", reason="the client of S3 is not installed (extra s3)")
    pytest.importorskip("moto", reason="the server of S3 for tests is not installed")
    with object_store.running() as running:
        yield running


@pytest.fixture(scope="session", params=["s3", "gs", "az"])
def _object_service(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    if request.param == "s3":
        yield request.getfixturevalue("_object_store")
        return
    with object_services.running(request.param) as running:
        yield running


@pytest.fixture
def service(_object_service: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectStore]:
    """A server of each service with an empty bucket or container `lab`, which the environment names."""
    import fsspec

    from reeldex import remote_faults
    from reeldex.flows.execution.workers import POOL
    from reeldex.storage import remote_listings

    POOL.stop()  # its processes have the environment of the test that started them
    for name, value in object_services.environment(_object_service).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_of_a_test(tmp_path / "user cache")))
    # A client of an emulator that has ended since would be used again: the environment is no part of its identity.
    fsspec.get_filesystem_class(_object_service.scheme).clear_instance_cache()
    monkeypatch.setattr(remote_faults, "FIRST_WAIT_SECONDS", 0.01)
    _object_service.heal()
    object_services.make_place(_object_service, "lab")
    remote_listings.forget()
    _object_service.requests.clear()
    yield _object_service
    POOL.stop()
    _object_service.heal()
    object_services.remove_place(_object_service, "lab")
    remote_listings.forget()


@pytest.fixture
def s3(_object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectStore]:
    """A server of S3 with an empty bucket `lab`, which the environment names; retries of requests do not wait long."""
    import s3fs

    from reeldex import remote_faults
    from reeldex.flows.execution.workers import POOL
    from reeldex.storage import remote_listings

    POOL.stop()  # its processes have the environment of the test that started them
    settings = {"AWS_ENDPOINT_URL": _object_store.url, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    keys = {"AWS_ACCESS_KEY_ID": object_store.KEY, "AWS_SECRET_ACCESS_KEY": object_store.SECRET}
    for name, value in {**settings, **keys}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_of_a_test(tmp_path / "user cache")))
    monkeypatch.setattr(remote_faults, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)
    _object_store.heal()
    with object_store.bucket(_object_store):
        remote_listings.forget()
        _object_store.requests.clear()
        yield _object_store
        POOL.stop()
    remote_listings.forget()
