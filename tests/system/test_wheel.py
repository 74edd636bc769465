"""The built distributions: what is in them, and that a wheel works in a folder without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

from tests.conftest import MakeVideo

ROOT = Path(__file__).resolve().parents[2]
_BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def run(*command: str | Path, cwd: Path) -> str:
    # A user without this project's paths and settings.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PREFECT_"))}
    environment["HOME"] = str(cwd)
    answer = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy: building leaves files behind in its folder."""
    folder = tmp_path_factory.mktemp("build")
    copy = folder / "copy"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in listed.strip("\0").split("\0"):
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    run(sys.executable, "-c", _BUILD_SDIST, folder, cwd=copy)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the source distribution, as an installer without a wheel would."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, sdist, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone; the libraries that it needs are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "venv"
    venv.create(environment, with_pip=False)
    site = environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    names = {path.name for path in site.iterdir()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"reeldex"}
    ours = Path(pytest.__file__).resolve().parents[1]
    (site / "libraries.pth").write_text(f"{ours}\n")
    return environment


def test_the_source_distribution_holds_files_and_no_links(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert not [member.name for member in members if member.issym() or member.islnk()]
    assert {"src/reeldex/__init__.py", "src/reeldex/py.typed", "src/reeldex/storage/store.py"} <= names
    assert any(name.startswith("src/reeldex/search/page/static/") for name in names)


def test_a_wheel_extracts_in_a_folder_without_the_repository(
    installed: Path, tmp_path: Path, make_video: MakeVideo
) -> None:
    make_video(tmp_path / "videos" / "clip.mp4", seconds=1)
    work = tmp_path / "empty"
    work.mkdir()
    where = run(installed / "bin" / "python", "-c", "import reeldex.storage as s; print(s.__file__)", cwd=work)
    assert Path(where.strip()).is_relative_to(installed)
    options = ("--store", "store", "--weights", "random", "--device", "cpu")
    run(installed / "bin" / "reeldex", "extract", tmp_path / "videos", *options, cwd=work)
    script = "import reeldex; print(reeldex.FeatureStore('store').videos()[0].outcome, reeldex.__version__)"
    assert run(installed / "bin" / "python", "-c", script, cwd=work).split()[0] == "ok"


def test_a_wheel_is_typed_and_holds_the_search_page(installed: Path) -> None:
    (package,) = installed.glob("lib/python*/site-packages/reeldex")
    assert (package / "py.typed").is_file()
    assert list((package / "search" / "page" / "static").glob("*.js"))
    assert not [path for path in package.rglob("*") if path.is_symlink()]
