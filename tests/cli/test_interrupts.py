"""Ctrl-C ends a command wherever it arrives."""

from __future__ import annotations

import signal
import sys
import threading
import weakref

import pytest

from reeldex.cli import interrupts
from reeldex.cli.interrupts import repeated_when_ignored
from tests.waiting import wait_until


class _Watched:
    """What a weak reference can refer to."""


def _interrupt_a_callback() -> None:
    """Let SIGINT arrive in the callback of a weak reference, whose errors Python ignores."""
    watched = _Watched()
    reference = weakref.ref(watched, lambda _: signal.raise_signal(signal.SIGINT))
    del watched
    assert reference() is None


def test_ctrl_c_is_not_lost_where_python_ignores_errors(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.unraisablehook

    def command() -> None:
        with repeated_when_ignored():
            _interrupt_a_callback()
            wait_until(lambda: False, 10)

    with pytest.raises(KeyboardInterrupt):
        command()
    assert sys.unraisablehook is before
    assert capsys.readouterr().err == ""


def test_a_command_that_has_ended_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_AGAIN_SECONDS", 3600.0)
    with repeated_when_ignored():
        _interrupt_a_callback()
    wait_until(lambda: not any(isinstance(each, threading.Timer) for each in threading.enumerate()), 2)


@pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning")
def test_other_errors_that_python_ignores_are_reported_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))
    with repeated_when_ignored():
        watched = _Watched()
        reference = weakref.ref(watched, lambda _: 1 / 0)
        del watched
    assert reference() is None
    assert reported == [ZeroDivisionError]
