"""The house rules that a program can check: import arrows, homes of heavy libraries, a light command line."""

from __future__ import annotations

import ast
import functools
import graphlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "reeldex"
PACKAGES = ("extractors", "storage", "embedding", "search", "flows")
# The command line and the public face, folders of SOURCES, may import everything; nothing imports them.
FACES = ("", "api", "cli")
ALLOWED = {
    "extractors": set[str](),
    "storage": set[str](),
    "embedding": {"storage"},
    "search": {"embedding", "storage"},
    "flows": {"extractors", "storage", "embedding", "search"},
}
# Modules beside the packages that import none of them: every package may import them.
LEAVES = {
    "cached_files",
    "containers",
    "devices",
    "errors",
    "garbage_collection",
    "options",
    "quantities",
    "remote_faults",
    "remote_files",
    "remote_urls",
    "untrusted_files",
    "user_folders",
}
FLOWS = {"extract", "rerun", "verify", "train", "evaluate", "index", "pipeline"}
HEAVY = {"torch", "torchvision", "prefect", "h5py", "numpy"}
# Library -> the packages, folders or files that may import it.
HOMES = {
    "apprise": {"flows/server"},
    "prefect": {f"flows/{flow}.py" for flow in FLOWS} | {"flows/runs", "flows/server"},
    "prefect_ray": {"flows/runs/ray_tasks.py"},
    "ray": {"flows/execution/ray_cluster.py", "flows/execution/ray_requests.py"},
    "h5py": {"storage"},
    "openvino": {"extractors/runtimes"},
    "cyclopts": {"cli"},
    "platformdirs": {"user_folders.py"},
    "multiprocessing": {"flows/execution"},
    "faiss": {"search"},
    "fsspec": {"remote_files.py"},
    "httpx": {"flows/fetching/credentials.py", "flows/fetching/web.py", "flows/runs", "flows/server"},
    "fastapi": {"search"},
    "starlette": {"search"},
    "gensim": {"embedding/words"},
    "torch": {"extractors", "embedding", "search", "flows", "api", "devices.py", "untrusted_files.py"},
    # Tests alone import these two.
    "torchvision": set(),
    "pytorchvideo": set(),
    "ffmpeg": {"extractors"},
    "subprocess": {"extractors", "search"},
}


def files_of(top: str) -> list[Path]:
    """Return the source files of a package or of a folder within one, without following links to others."""
    return sorted((ROOT / top).rglob("*.py"))


def sources() -> dict[str, Path]:
    """Return every module of ours by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in files_of(package):
            found[_dotted(Path(package) / path.relative_to(ROOT / package))] = path
    for path in [path for folder in FACES for path in (SOURCES / folder).glob("*.py")]:
        found[_dotted(path.relative_to(SOURCES))] = path
    return found


def _dotted(path: Path) -> str:
    return ".".join(("reeldex", *path.with_suffix("").parts)).removesuffix(".__init__")


@functools.cache
def imports(source: str) -> tuple[str, ...]:
    """Return the dotted names of all that a source imports, wherever in it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def wrong_imports(package: str, path: str, source: str) -> list[str]:
    found = []
    for name in imports(source):
        top, _, rest = name.partition(".")
        ours = rest.partition(".")[0] if top == "reeldex" else None
        if ours not in {None, package, *LEAVES, *ALLOWED[package]}:
            found.append(f"{path} imports {name}: the arrows forbid it")
        if top in PACKAGES:
            found.append(f"{path} imports {name} by its bare name: say reeldex.{name}")
    return found + far_from_home(path, source)


def far_from_home(path: str, source: str) -> list[str]:
    return [
        f"{path} imports {top}: its home is {', '.join(sorted(HOMES[top])) or 'the tests'}"
        for top in {name.partition(".")[0] for name in imports(source)} & HOMES.keys()
        if not any(path == home or path.startswith(f"{home}/") for home in HOMES[top])
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way_and_heavy_libraries_have_one_home(package: str) -> None:
    files = files_of(package)
    assert files
    wrong = [
        fault
        for file in files
        for fault in wrong_imports(package, file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def test_a_wrong_arrow_would_be_seen() -> None:
    arrow = "def f():\n    from reeldex.extractors.spec import ExtractorSpec\n"
    assert wrong_imports("storage", "storage/x.py", arrow)
    assert wrong_imports("flows", "flows/x.py", "from reeldex.cli import main\n")
    assert wrong_imports("extractors", "extractors/x.py", "import h5py as h\n")
    assert wrong_imports("flows", "flows/x.py", "import subprocess\n")
    assert wrong_imports("flows", "flows/extraction/x.py", "from prefect import task\n")
    assert wrong_imports("flows", "flows/x.py", "from storage.store import FeatureStore\n")
    assert not wrong_imports("flows", "flows/x.py", "from reeldex.storage.store import FeatureStore\n")
    assert not wrong_imports("flows", "flows/runs/x.py", "from prefect import task\n")


def test_the_public_face_leaves_libraries_in_their_homes() -> None:
    assert far_from_home("api/x.py", "from cyclopts import App\n")
    assert far_from_home("cli/x.py", "def f():\n    import torch.nn\n")
    files = [path for folder in FACES for path in (SOURCES / folder).glob("*.py")]
    assert {path.stem for path in files} > LEAVES
    wrong = [far_from_home(path.relative_to(SOURCES).as_posix(), path.read_text(encoding="utf-8")) for path in files]
    assert [fault for faults in wrong for fault in faults] == []


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_a_leaf_imports_no_package_of_ours_and_loads_no_heavy_library(leaf: str) -> None:
    source = (SOURCES / f"{leaf}.py").read_text(encoding="utf-8")
    ours = {name.split(".")[1] for name in imports(source) if name.startswith("reeldex.")}
    assert ours <= LEAVES
    script = f"import sys, reeldex.{leaf}\nprint(*{{name.partition('.')[0] for name in sys.modules}})\n"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "reeldex" in answer.stdout.split()
    assert HEAVY.isdisjoint(answer.stdout.split())


def test_nothing_is_imported_by_a_bare_name() -> None:
    others = [file for top in ("tests", "benchmarks", "src/reeldex/cli", "src/reeldex/api") for file in files_of(top)]
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in [*others, *SOURCES.glob("*.py")]
        for name in imports(file.read_text(encoding="utf-8"))
        if name.partition(".")[0] in PACKAGES
    ]
    assert wrong == []


def names_used(source: str) -> set[str]:
    """Return the dotted names that a source imports or contains, also in its texts."""
    return {*imports(source), *re.findall(r"\b[A-Za-z_]\w*(?:\.\w+)+", source)}


def of_modules(names: set[str], patterns: list[str]) -> set[str]:
    """Return the names that belong to one of the modules: `a.b`, or `a.b.*` with all below it."""
    modules = [pattern.removesuffix(".*") for pattern in patterns]
    return {name for name in names if any(name == module or name.startswith(f"{module}.") for module in modules)}


def test_the_types_of_all_that_is_used_are_checked() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    skipped = next(
        each["module"]
        for each in configuration["tool"]["mypy"]["overrides"]
        if each.get("follow_imports") == "skip" and "follow_imports_for_stubs" not in each
    )
    assert of_modules(names_used("import torch\ndef f():\n    torch.onnx.export()\n"), skipped)
    assert of_modules(names_used("from torch.ao import quantization\n"), skipped)
    assert not of_modules(names_used("import torch\ntorch.on.nx, torch.nn.Linear\n"), skipped)
    files = {file for top in (*PACKAGES, "src", "tests", "benchmarks") for file in files_of(top)}
    files.remove(ROOT / "tests/test_architecture.py")
    assert len(files) > len(sources())
    used = {file: of_modules(names_used(file.read_text(encoding="utf-8")), skipped) for file in files}
    assert {file: names for file, names in used.items() if names} == {}


def import_graph() -> dict[str, set[str]]:
    """Return which of our modules each of them imports."""
    modules = sources()
    graph = {}
    for module, path in modules.items():
        named = imports(path.read_text(encoding="utf-8"))
        found = {name if name in modules else name.rpartition(".")[0] for name in named}
        graph[module] = {name for name in found if name in modules and name != module}
    return graph


def subpackage(module: str) -> str:
    """Return the subpackage that a module belongs to; the seven flows count as one."""
    parts = module.split(".")
    depth = 3 if parts[1:2] == ["flows"] and parts[2:] not in [[flow] for flow in FLOWS] else 2
    return ".".join(parts[:depth])


def cycles(graph: Mapping[str, set[str]]) -> list[str]:
    """Return one cycle of a graph, or nothing if it has none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def test_no_module_imports_itself_through_others() -> None:
    assert cycles({"a": {"b"}, "b": {"a"}})
    assert cycles(import_graph()) == []


def test_no_subpackage_imports_itself_through_others() -> None:
    between: dict[str, set[str]] = {}
    for module, imported in import_graph().items():
        between.setdefault(subpackage(module), set()).update(map(subpackage, imported))
    assert cycles({name: others - {name} for name, others in between.items()}) == []


def test_the_flows_alone_stand_at_the_top_of_flows() -> None:
    assert {path.stem for path in (ROOT / "flows").glob("*.py")} == FLOWS | {"__init__"}


@pytest.mark.parametrize("command", ["extract", "train", "index", "config", "up"])
def test_help_loads_none_of_the_heavy_libraries(command: str) -> None:
    script = (
        "import json, sys\n"
        "from reeldex.cli.main import main\n"
        f"main([{command!r}, '--help'])\n"
        "print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(json.loads(answer.stdout.splitlines()[-1]))
    assert "reeldex" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_status_loads_neither_torch_nor_prefect(tmp_path: Path) -> None:
    script = (
        "import json, sys\n"
        "from reeldex.storage.store import FeatureStore\n"
        "from reeldex.cli.main import main\n"
        f"FeatureStore({str(tmp_path)!r}, create=True)\n"
        f"main(['status', {str(tmp_path)!r}])\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(json.loads(answer.stdout.splitlines()[-1])).isdisjoint({"torch", "prefect"})


@pytest.mark.parametrize("program", ["reeldex.__main__", "reeldex.flows.server.flow_process"])
def test_the_main_module_of_programs_that_start_workers_loads_little(program: str) -> None:
    # Each worker process, which multiprocessing starts, imports it again; that of the command is a script.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"reeldex": "reeldex.__main__:main"}
    script = f"import json, sys, {program}; print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(json.loads(answer.stdout)).isdisjoint({"prefect", "cyclopts", "pydantic", "numpy"})


def test_no_file_of_a_package_is_called_by_what_it_is_not() -> None:
    names = {module.rpartition(".")[2] for module in sources()}
    assert names.isdisjoint({"utils", "util", "common", "helpers", "misc"})
