"""The Dockerfile: its targets and layers, how its instructions are read, and the health check of its images."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from reeldex.cli import health
from tools.images.build import Build
from tools.images.dockerfile import DockerfileError, Instruction, copied_to, expand, in_context, parse, stages_of

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_hadolint_finds_no_fault() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run(
        [hadolint, "--no-color", "Dockerfile"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (answer.returncode, answer.stdout) == (0, "")


def test_the_target_cpu_has_no_layer_of_cuda_and_both_share_the_rest() -> None:
    instructions = parse(DOCKERFILE)
    cpu, cuda = stages_of(instructions, "cpu"), stages_of(instructions, "cuda")
    assert cpu ^ cuda == {"cpu", "cuda", "torch-cpu", "torch-cuda", "wheels"}
    assert {"system", "base", "tools", "packages", "app"} <= cpu & cuda


def test_a_change_of_the_code_leaves_the_layers_of_packages_as_they_are() -> None:
    stage, copied = "", dict[str, list[str]]()
    for each in parse(DOCKERFILE):
        if each.name == "FROM":
            stage = each.text.split()[-1]
        elif each.name == "COPY" and "--from" not in each.text:
            copied.setdefault(stage, []).extend(each.text.split()[:-1])
    assert copied.pop("app") == ["."]
    locks = {"requirements-torch.lock", "requirements-run.lock", "tools/install_torch.sh"}
    assert {name for names in copied.values() for name in names} == locks


def test_images_run_as_a_user_who_writes_to_volumes_alone() -> None:
    base = DOCKERFILE[DOCKERFILE.index("FROM system AS base") : DOCKERFILE.index("FROM system AS tools")]
    found = {each.name: each.text for each in parse(base)}
    assert found["USER"] == "10001:10001"
    assert json.loads(found["VOLUME"]) == ["/cache", "/store"]
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TORCH_HOME", "PREFECT_HOME"):
        assert f"{name}=/cache" in found["ENV"]
    assert "reeldex.cli.health" in found["HEALTHCHECK"]


def test_the_build_context_is_what_is_installed() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    wanted = [
        "pyproject.toml",
        "flows/extract.py",
        "src/reeldex/cli/main.py",
        "search/page/static/page.js",
        "src/reeldex/flows",
    ]
    assert all(in_context(name, rules) for name in wanted)
    unwanted = [
        "docs/run.md",
        "tests/conftest.py",
        "tools/images/build.py",
        ".git/HEAD",
        "flows/__pycache__/a.pyc",
        "compose.yaml",
    ]
    assert not any(in_context(name, rules) for name in unwanted)
    with pytest.raises(DockerfileError, match=r"\.dockerignore: 'a\*b'"):
        in_context("x", "a*b")


def test_instructions_are_read_across_lines_and_comments() -> None:
    text = (
        "# syntax\nARG A=1\n\nFROM debian:${A} AS a\n# why\nRUN one \\\n# between\n    && two\n"
        "COPY --from=b /x /y\nFROM scratch AS b\n"
    )
    assert parse(text) == [
        Instruction("ARG", "A=1"),
        Instruction("FROM", "debian:${A} AS a"),
        Instruction("RUN", "one      && two"),
        Instruction("COPY", "--from=b /x /y"),
        Instruction("FROM", "scratch AS b"),
    ]
    assert stages_of(parse(text), "a") == {"a", "b"}
    assert stages_of(parse(text), "b") == {"b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM debian:bookworm AS a\nADD x y\n", "ADD is not supported here"),
        ("FROM debian:bookworm\n", "each stage needs a name"),
        ("FROM debian:bookworm AS a\n", "there is no target 'cpu'; targets are a"),
    ],
)
def test_what_cannot_be_replayed_is_an_error(text: str, words: str) -> None:
    with pytest.raises(DockerfileError, match=words):
        stages_of(parse(text), "cpu")


@pytest.mark.parametrize(
    ("name", "sources", "target", "expected"),
    [
        ("a.lock", ["a.lock"], "/build/", "/build/a.lock"),
        ("tools/a.sh", ["a.lock", "tools/a.sh"], "/build/", "/build/a.sh"),
        ("a.lock", ["a.lock"], "/build/b.lock", "/build/b.lock"),
        ("src/x/y.py", ["."], "/build/", "/build/src/x/y.py"),
        ("src/x/y.py", ["src"], "/build", "/build/x/y.py"),
        ("srcs/y.py", ["src"], "/build/", None),
    ],
)
def test_copy_puts_files_where_docker_does(name: str, sources: list[str], target: str, expected: str | None) -> None:
    assert copied_to(name, sources, target) == expected


def test_variables_are_expanded() -> None:
    assert expand("${A}-slim:$B:$C.", {"A": "x", "B": "y"}) == "x-slim:y:."


def test_settings_and_files_of_stages_are_carried_out(tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "src").mkdir(parents=True)
    (context / "src/a.py").write_text("a", encoding="utf-8")
    (context / "link").symlink_to("src")
    (context / ".dockerignore").write_text("*\n!src\n!link\n", encoding="utf-8")
    subprocess.run(["/usr/bin/env", "git", "init", "--quiet", str(context)], check=True)
    text = """
FROM scratch AS one
ENV A=1 PATH=/x:$PATH
USER 5:6
VOLUME ["/v"]
COPY . /build/
FROM one AS two
WORKDIR /w
ENTRYPOINT ["p"]
HEALTHCHECK --interval=3s CMD ["q", "r"]
COPY --from=one /build /copied
"""
    build = Build(tmp_path / "out", context, {}, {})
    stage = build.target(parse(text), "two")
    assert (stage.user, stage.folder, stage.volumes) == ("5:6", "/w", ("/v",))
    assert (stage.entrypoint, stage.health) == (("p",), ("q", "r"))
    assert stage.environment["A"] == "1"
    assert stage.environment["PATH"].startswith("/x:/usr/local/sbin")
    assert (stage.root / "copied/src/a.py").read_text(encoding="utf-8") == "a"
    assert (stage.root / "build/link").is_symlink()


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/health"
        server.shutdown()


def test_a_service_is_healthy_while_its_address_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(200) as address:
        monkeypatch.setenv("REELDEX_HEALTH_URL", address)
        assert health.main() == 0
    assert health.main() == 1
    assert f"not healthy: {address} does not answer" in capsys.readouterr().err
    with answering(503) as address:
        monkeypatch.setenv("REELDEX_HEALTH_URL", address)
        assert health.main() == 1
    assert f"{address} answers with HTTP 503" in capsys.readouterr().err
    monkeypatch.setenv("REELDEX_HEALTH_URL", "file:///etc/passwd")
    assert health.main() == 1
    assert "not an http:// or https:// address" in capsys.readouterr().err


def test_another_container_is_healthy_if_ffmpeg_runs_and_its_cache_is_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REELDEX_HEALTH_URL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert health.main() == 0
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert health.main() == 1
    assert "XDG_CACHE_HOME" in capsys.readouterr().err
