"""When the head node of a cluster is lost, and when only this process was not there to look."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from reeldex.errors import InfrastructureError, PermanentFaultError
from reeldex.flows.execution.head_watch import HeadWatch, Silence

NOBODY = "127.0.0.1:9"
# Looks often, stops itself as the scheduler of a cluster or Ctrl-Z does, and asks at once when it goes on.
_PAUSED = """
import os, signal, sys, time
from reeldex.flows.execution import head_watch
head_watch._LOOK_SECONDS = 0.2
head = head_watch.HeadWatch(sys.argv[1], silent_seconds=0.6)
time.sleep(0.5)
os.kill(os.getpid(), signal.SIGSTOP)
head.require()
time.sleep(0.5)
head.require()
print("alive")
"""


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a head node that takes connections."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_time_without_attempts_is_no_silence() -> None:
    silence = Silence(0.0, longest_seconds=4.0)
    silence.attempted(2.0, answered=False)
    assert silence.seconds == 2.0
    silence.attempted(100.0, answered=False)
    assert silence.seconds == 6.0, "the process was paused"
    silence.attempted(99.0, answered=False)
    assert silence.seconds == 6.0, "another thread was later to say so"
    silence.attempted(102.0, answered=True)
    assert silence.seconds == 0.0
    silence.attempted(104.0, answered=False)
    assert silence.seconds == 2.0


def test_a_run_that_was_paused_does_not_take_a_living_head_node_for_lost(address: str) -> None:
    command = [sys.executable, "-c", _PAUSED, address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        time.sleep(1.5)  # time is tested: that of the pause
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=60)[0].splitlines()[-1:] == ["alive"]
    finally:
        process.kill()
        process.wait()


def test_a_head_node_that_is_lost_is_not_waited_for_without_end() -> None:
    head = HeadWatch(NOBODY, silent_seconds=0.3)
    with pytest.raises(PermanentFaultError, match=r"head node of the Ray cluster \(127\.0\.0\.1:9\) has not answered"):
        head.wait_for_answer()
    head.close()
    with pytest.raises(PermanentFaultError):
        head.require()
    assert head.is_lost, "it does not come back by not being watched"


def test_nobody_waits_for_a_head_node_that_is_watched_no_longer(address: str) -> None:
    head, ends = HeadWatch(NOBODY), list[Exception]()

    def wait() -> None:
        try:
            head.wait_for_answer()
        except InfrastructureError as error:
            ends.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    head.close()
    thread.join(10)
    assert not thread.is_alive()
    assert not isinstance(ends[0], PermanentFaultError)
    assert "before the connection to it was closed" in str(ends[0])
    answering = HeadWatch(address)
    answering.close()
    answering.wait_for_answer()
