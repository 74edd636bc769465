"""What every test needs: a Prefect and device locks that are not the user's, markers, and small real videos."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before anything imports Prefect: its settings and database are this run's own.
for name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[name]
_STATE = Path(tempfile.mkdtemp(prefix="reeldex-test-state-"))
os.environ.update(
    # Device locks are the tests' own too: a run of the user's would hold them up.
    XDG_STATE_HOME=str(_STATE),
    PREFECT_HOME=str(_STATE / "prefect"),
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_LOGGING_LEVEL="CRITICAL",
    DO_NOT_TRACK="1",
    # As the commands set it. A test that runs a flow leaves Prefect's log handler to those that work without one.
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW="ignore",
)
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers and their child processes share the cores; without this each would start a thread per core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background has them ignore Ctrl-C, and all they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

MakeVideo = Callable[..., Path]

_SYSTEM_TESTS = Path(__file__).parent / "system"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-gpu",
        action="store_true",
        default=os.environ.get("REELDEX_REQUIRE_GPU", "") not in ("", "0"),
        help="fail the tests marked `gpu` where there is no CUDA device, instead of skipping them "
        "(also: REELDEX_REQUIRE_GPU=1)",
    )


def pytest_report_header() -> str:
    from reeldex.extractors import ffmpeg

    return f"ffmpeg: {ffmpeg.version()} ({ffmpeg.executable()})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and keep those that share a fixture on one worker of pytest-xdist.

    A file is one group, since many files make their videos or networks once. The system tests are one group: they
    share a running `reeldex up`.
    """
    for item in items:
        is_system = item.path.is_relative_to(_SYSTEM_TESTS)
        if is_system:
            item.add_marker(pytest.mark.system)
        item.add_marker(pytest.mark.xdist_group("system" if is_system else item.path.stem))


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


@pytest.fixture(scope="session", autouse=True)
def _own_state() -> Iterator[None]:
    yield
    shutil.rmtree(_STATE, ignore_errors=True)


@pytest.fixture(scope="session")
def make_video() -> MakeVideo:
    """Make a video of ffmpeg's test picture: `make_video(path, seconds=1.0, size="160x120", rate=25)`."""
    from reeldex.extractors import ffmpeg

    def make(
        path: Path, seconds: float = 1.0, size: str = "160x120", rate: int = 25, picture: str = "testsrc2"
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        source = f"{picture}=size={size}:rate={rate}:duration={seconds}"
        command = ["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p"]
        subprocess.run([ffmpeg.executable(), *command, ffmpeg.input_url(str(path))], check=True)
        return path

    return make
