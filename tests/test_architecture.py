"""The house rules that a program can check: import arrows, homes of heavy libraries, a light command line."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("extractors", "storage", "embedding", "search", "flows")
ALLOWED = {
    "extractors": set[str](),
    "storage": set[str](),
    "embedding": {"storage"},
    "search": {"embedding", "storage"},
    "flows": {"extractors", "storage", "embedding", "search"},
}
# Library -> the packages or files that may import it.
HOMES = {
    "prefect": {"flows"},
    "ray": {"flows"},
    "h5py": {"storage"},
    "faiss": {"search"},
    "fastapi": {"search"},
    "starlette": {"search"},
    "gensim": {"embedding/text.py"},
    "torch": {"extractors", "embedding", "search", "flows"},
    "torchvision": {"extractors"},
    "pytorchvideo": {"extractors"},
    "ffmpeg": {"extractors"},
    "subprocess": {"extractors", "search"},
}


def imports(source: str) -> Iterator[str]:
    """Yield the top-level names of all modules that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


def wrong_imports(package: str, path: str, source: str) -> list[str]:
    found = []
    for name in imports(source):
        if name in PACKAGES and name != package and name not in ALLOWED[package]:
            found.append(f"{path} imports {name}: the arrows forbid it")
        if name in HOMES and package not in HOMES[name] and path not in HOMES[name]:
            found.append(f"{path} imports {name}: its home is {', '.join(sorted(HOMES[name]))}")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way_and_heavy_libraries_have_one_home(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        fault
        for file in files
        for fault in wrong_imports(package, file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def test_a_wrong_arrow_would_be_seen() -> None:
    assert wrong_imports("storage", "storage/x.py", "def f():\n    from extractors.spec import ExtractorSpec\n")
    assert wrong_imports("extractors", "extractors/x.py", "import h5py as h\n")
    assert wrong_imports("flows", "flows/x.py", "import subprocess\n")
    assert not wrong_imports("flows", "flows/x.py", "from storage.store import FeatureStore\n")


def test_help_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import json, sys\n"
        "from flows.cli import main\n"
        "try:\n"
        "    main(['extract', '--help'])\n"
        "except SystemExit:\n"
        "    print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(json.loads(answer.stdout.splitlines()[-1]))
    assert "flows" in loaded
    assert loaded.isdisjoint({"torch", "torchvision", "prefect", "h5py", "numpy", "pydantic", "rich", "yaml"})


def test_status_loads_neither_torch_nor_prefect(tmp_path: Path) -> None:
    script = (
        "import json, sys\n"
        "from storage.store import FeatureStore\n"
        "from flows.cli import main\n"
        f"FeatureStore({str(tmp_path)!r}, create=True)\n"
        f"main(['status', {str(tmp_path)!r}])\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(json.loads(answer.stdout.splitlines()[-1])).isdisjoint({"torch", "prefect"})


def test_no_file_of_a_package_is_called_by_what_it_is_not() -> None:
    names = {path.stem for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert names.isdisjoint({"utils", "util", "common", "helpers", "misc"})
