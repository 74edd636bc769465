"""README's length, and the site: it builds without a warning, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
# What a page loads by itself, as against the links that a reader may follow.
_LOADED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")
_STYLE_LOADED = re.compile(r"""(?:url\(|@import\s*)["']?((?:https?:)?//[^"')\s]+)""")


def test_readme_is_short() -> None:
    assert len((_ROOT / "README.md").read_text("utf-8").split()) <= 1200


def test_extras_are_installed_from_the_checkout() -> None:
    # No registry has a package of this name that is ours.
    folders = ("docs", "deploy", "embedding", "extractors", "flows", "search", "src", "storage")
    files = [
        each for folder in folders for each in (_ROOT / folder).rglob("*") if each.suffix in {".md", ".py", ".yaml"}
    ]
    texts = {each: each.read_text("utf-8") for each in [*files, *_ROOT.glob("*.md")]}
    assert [each.name for each, text in texts.items() if "reeldex[" in text] == []
    # Without `-e`, it would replace the editable installation of `make run`.
    assert {found for text in texts.values() for found in re.findall(r"pip install (.*?)'\.\[", text)} == {"-e "}


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_links_of_pages_outside_the_site_lead_to_files(page: str) -> None:
    targets = [each for each in _LINK.findall((_ROOT / page).read_text("utf-8")) if "://" not in each]
    assert targets, page
    assert [each for each in targets if not (_ROOT / each).exists()] == []


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    build = _build(_ROOT / "mkdocs.yml", tmp_path / "site")
    assert build.returncode == 0, build.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    loaded = {found for page in pages for found in _LOADED.findall(page.read_text("utf-8"))}
    for sheet in (tmp_path / "site").rglob("*.css"):
        loaded |= set(_STYLE_LOADED.findall(sheet.read_text("utf-8")))
    assert loaded == set()


@pytest.mark.slow
@pytest.mark.parametrize("link", ["missing.md", "index.md#no-such-heading"])
def test_a_broken_link_fails_the_build(tmp_path: Path, link: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# Title\n\n[broken]({link})\n")
    config = (_ROOT / "mkdocs.yml").read_text("utf-8")
    (tmp_path / "mkdocs.yml").write_text(config[: config.index("nav:")])
    build = _build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert build.returncode == 1
    assert link in build.stderr


def _build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(site),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
