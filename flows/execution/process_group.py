"""Child processes that end when their parent does, however it ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import SpawnProcess

# Names, in the environment of what `start_program` started, the process that is to be its children's parent.
_PROGRAM = "REELDEX_PROGRAM_PID"
_LOOK_SECONDS = 0.5
# What a program may take to end by itself once its parent is gone.
_GRACE_SECONDS = 3.0


def end_with_parent(action: Callable[[], None]) -> None:
    """Call `action` once the parent of this process, which multiprocessing started, is gone.

    A killed parent cannot tell its children anything; what they see is the closing of a pipe that it held.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("this process was not started by multiprocessing: it has no parent to watch")

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        action()

    threading.Thread(target=watch, name="parent_watchdog", daemon=True).start()


def end_group_with_program() -> None:
    """Kill this process and its group once its parent is gone; at once if that is not the program that started it.

    For processes that another library started, which gives them nothing that their parent holds.
    """
    parent = int(os.environ.get(_PROGRAM, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        kill_own_group()

    threading.Thread(target=watch, name="parent_watchdog", daemon=True).start()


def become_group_leader() -> None:
    """Make this process the first of a process group of its own, which its children join.

    Ctrl-C on a terminal then reaches only those who decide, and all that belongs to the process ends by one signal.
    """
    with contextlib.suppress(PermissionError):  # it leads a session, and so a group, already
        os.setpgid(0, 0)


def kill_own_group() -> None:
    """End this process and its children at once, without any of them having a say."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def start_program(
    module: str, arguments: Sequence[str], log: str, environment: Mapping[str, str | None] | None = None
) -> SpawnProcess:
    """Start `python -m module arguments` as a leader of its group that ends when this process is gone.

    It is asked to end first, and killed with its group after 3 seconds. What it prints is appended to the file `log`.
    `environment` changes what it inherits of this process's, None removes; other processes do not see it.
    """
    context = multiprocessing.get_context("spawn")
    told = (module, list(arguments), log, dict(environment or {}))
    process = context.Process(target=_run_program, args=told, name=module)
    process.start()
    return process


def _run_program(module: str, arguments: list[str], log: str, environment: dict[str, str | None]) -> None:
    become_group_leader()
    end_with_parent(_end_own_group)
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.environ[_PROGRAM] = str(os.getpid())
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_own_group() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    kill_own_group()
