"""The Prefect server of the tests of the flows, which those of the command line use too."""

from __future__ import annotations

from tests.flows.conftest import server

__all__ = ["server"]
