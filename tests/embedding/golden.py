"""Where the published method's own values lie, beside the repository, and what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "conformance" / "embedding"
DATA = FOLDER / "data"
needs_golden_values = pytest.mark.skipif(not FOLDER.is_dir(), reason="the golden values lie outside this repository")


def expected() -> dict[str, Any]:
    """The values as JSON."""
    values: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
    return values


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """The values' arrays by name."""
    with np.load(FOLDER / "expected.npz") as held:
        return dict(held)
