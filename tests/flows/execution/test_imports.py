"""Imports without a search for garbage."""

from __future__ import annotations

import gc

import pytest

from reeldex.flows.execution.imports import without_garbage_collection


def test_garbage_is_looked_for_again_afterwards() -> None:
    assert gc.isenabled()
    with without_garbage_collection():
        assert not gc.isenabled()
        with without_garbage_collection():
            pass
        assert not gc.isenabled(), "the outer block still lasts"
    assert gc.isenabled()


def test_an_import_that_fails_leaves_all_as_it_was() -> None:
    with pytest.raises(ModuleNotFoundError), without_garbage_collection():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()


def test_who_collects_no_garbage_goes_on_without() -> None:
    gc.disable()
    try:
        with without_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
