"""Child processes that end when their parent ends, even if it is killed."""

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

from reeldex.garbage_collection import skip_garbage_collection_at_exit

Program = SpawnProcess
"""What `start_program` returns."""

# Environment variable of what `start_program` started: the process that its children must have as parent.
_PROGRAM = "REELDEX_PROGRAM_PID"
_LOOK_SECONDS = 0.5
# Seconds that a program may take to exit once its parent has ended.
_GRACE_SECONDS = 3.0


def end_with_parent(action: Callable[[], None]) -> None:
    """Call `action` once the parent of this process, which multiprocessing started, has ended.

    A killed parent cannot notify its children; they detect that a pipe it held is closed.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("this process was not started by multiprocessing: it has no parent to watch")

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        action()

    threading.Thread(target=watch, name="parent_watchdog", daemon=True).start()


def end_group_with_program() -> None:
    """Kill this process and its group once its parent has ended; at once if the parent is not that program.

    For processes that another library starts without a pipe to the parent.
    """
    parent = int(os.environ.get(_PROGRAM, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        kill_own_group()

    threading.Thread(target=watch, name="parent_watchdog", daemon=True).start()


def become_group_leader() -> None:
    """Make this process the leader of a new process group, which its children join.

    Ctrl-C on a terminal then does not reach the group, and one signal ends the process and all its children.
    """
    with contextlib.suppress(PermissionError):  # it leads a session, and so a group, already
        os.setpgid(0, 0)


def kill_own_group() -> None:
    """Kill this process and its children (SIGKILL)."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def start_program(
    module: str, arguments: Sequence[str], log: str | None, environment: Mapping[str, str | None] | None = None
) -> Program:
    """Start `python -m module arguments` as the leader of a process group that ends with this process.

    It first receives SIGTERM, and is killed with its group after 3 seconds. Its output is appended to the file `log`;
    None leaves it on standard error. `environment` overrides variables of the inherited environment; None removes one.
    It exits without garbage collection.
    """
    context = multiprocessing.get_context("spawn")
    program = (module, list(arguments), log, dict(environment or {}))
    process = context.Process(target=_run_program, args=program, name=module)
    process.start()
    return process


def _run_program(module: str, arguments: list[str], log: str | None, environment: dict[str, str | None]) -> None:
    skip_garbage_collection_at_exit()
    become_group_leader()
    end_with_parent(_end_own_group)
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.environ[_PROGRAM] = str(os.getpid())
    file = 2 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_own_group() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    kill_own_group()
