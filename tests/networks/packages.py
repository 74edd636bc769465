"""Packages that tests install, as far as Python sees them."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from reeldex.extractors import registry


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, entry_points: str) -> Path:
    """Install a package `other` with one module and these entry points, such as "name = other:RECORD", for one test.

    Return the file of its module. What the test loads of it is forgotten at its end.
    """
    monkeypatch.setattr(registry, "EXTRACTORS", dict(registry.EXTRACTORS))
    module, about = folder / "other.py", folder / "other-1.0.dist-info"
    module.write_text(code)
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\n{entry_points}\n")
    monkeypatch.syspath_prepend(folder)
    # Removed at the end of the test, too.
    monkeypatch.setitem(sys.modules, "other", types.ModuleType("other"))
    monkeypatch.delitem(sys.modules, "other")
    return module
