"""`import reeldex` is free, and its names are what they say."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest

import reeldex


def test_import_loads_nothing_heavy_and_listing_the_names_neither() -> None:
    script = "import json, sys, reeldex; dir(reeldex); print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(answer.stdout)}
    assert "reeldex" in loaded
    assert loaded.isdisjoint({"torch", "numpy", "h5py", "pydantic", "prefect", "rich"})


def test_every_public_name_is_listed_and_loads() -> None:
    for name in reeldex.__all__:
        assert name in dir(reeldex)
        assert getattr(reeldex, name) is not None
    assert reeldex.__version__ == importlib.metadata.version("reeldex")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        reeldex.nonsense  # noqa: B018 - the access is the test
