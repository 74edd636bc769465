"""The command line and its folders of videos, which the tests of the flows use too."""

from __future__ import annotations

from tests.flows.conftest import mixed_folder, reeldex, server

__all__ = ["mixed_folder", "reeldex", "server"]
