"""Counts calls in a command and in all processes that it starts: Python imports a module `sitecustomize` in each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

_HOOK = """
import functools, hashlib, importlib.abc, importlib.util, os, sys

WATCHED = {
    "reeldex.flows.extraction.sources": ("find_videos", lambda source, *_: "search"),
    "reeldex.storage.inspection": ("inspect_shard", lambda root, manifest, *_: f"inspect {manifest.shard}"),
}


def counting(function, name):
    @functools.wraps(function)
    def count(*arguments, **named):
        with open(os.environ["COUNTED_CALLS"], "a") as file:
            file.write(name(*arguments) + "\\n")
        return function(*arguments, **named)
    return count


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in WATCHED:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module
        attribute, label = WATCHED[name]

        def exec_module(module):
            execute(module)
            setattr(module, attribute, counting(getattr(module, attribute), label))

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
hashlib.file_digest = counting(hashlib.file_digest, lambda file, *_: f"hash {file.name}")
"""


def counting(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment in which commands count searches of a source, inspections of shards and hashes of files."""
    (folder / "hook").mkdir(exist_ok=True)
    (folder / "hook" / "sitecustomize.py").write_text(_HOOK, encoding="utf-8")
    path = os.pathsep.join([str(folder / "hook"), *filter(None, [environment.get("PYTHONPATH")])])
    return {**environment, "PYTHONPATH": path, "COUNTED_CALLS": str(folder / "calls.txt")}


def counted(folder: Path) -> Counter[str]:
    """Return how often each was called since the last time."""
    calls = folder / "calls.txt"
    found = Counter(calls.read_text(encoding="utf-8").splitlines()) if calls.exists() else Counter[str]()
    calls.unlink(missing_ok=True)
    return found
