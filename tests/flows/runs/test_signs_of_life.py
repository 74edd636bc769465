"""When a run sends events that it is alive; what the server makes of them: tests/system/test_own_server.py."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest

from reeldex.flows.runs import signs_of_life


def test_a_run_that_ends_soon_sends_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handled after the final state, one would make the server wait for further ones, and crash the ended run."""
    asked = []
    monkeypatch.setattr(signs_of_life, "get_client", lambda **_: asked.append(1))
    over = threading.Event()
    over.set()
    signs_of_life._send_until(over, uuid4())
    assert not asked
