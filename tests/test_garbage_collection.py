"""Garbage collection is off for as long as anyone needs that, and then as it was before; a program exits without it."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from reeldex.garbage_collection import GARBAGE_COLLECTION_OFF


def test_it_is_off_until_the_last_thread_that_needs_that_has_ended() -> None:
    entered, ended = threading.Event(), threading.Event()

    def need() -> None:
        with GARBAGE_COLLECTION_OFF:
            entered.set()
            ended.wait(30)

    other = threading.Thread(target=need)
    with ExitStack() as own:
        own.enter_context(GARBAGE_COLLECTION_OFF)
        other.start()
        assert entered.wait(30)
        own.close()
        assert not gc.isenabled(), "the other thread needs it still"
        ended.set()
        other.join()
    assert gc.isenabled()


def test_a_program_without_it_stays_so() -> None:
    gc.disable()
    try:
        with GARBAGE_COLLECTION_OFF:
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


# What a program holds until it exits.
_LEFT = """
import os, runpy, sys

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self, write=os.write):  # names of the module may be gone by then
        write(1, b"destroyed")

left = Cycle()
"""
_OUR_OWN = {
    "command": "sys.argv = ['reeldex', '--version']; runpy.run_module('reeldex', run_name='__main__', alter_sys=True)",
    # It fails for lack of a run's id, and what it then leaves is none of its permanent objects.
    "flow run": """
import gc
sys.excepthook = lambda kind, value, _: globals().update(
    left=Cycle(), said=print(value, gc.get_freeze_count() > 0, flush=True)
)
runpy.run_module('reeldex.flows.server.flow_process', run_name='__main__')
""",
    # All of it, but that it does not serve.
    "server": """
import gc, uvicorn
uvicorn.run = lambda app, **_: print(app is not None, gc.get_freeze_count() > 0, flush=True)
sys.argv = ['application', '--host', '127.0.0.1', '--port', '4200', '--no-secret']
runpy.run_module('reeldex.flows.server.application', run_name='__main__')
os._exit(0)
""",
}


@functools.cache
def _left_at_exit(script: str) -> str:
    dropped = ("PREFECT__FLOW_RUN_ID", "REELDEX_PROGRAM_PID")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    program = subprocess.run([sys.executable, "-c", _LEFT + script], capture_output=True, check=False, env=environment)
    return program.stdout.decode() + program.stderr.decode()


def test_python_itself_collects_garbage_at_exit() -> None:
    assert _left_at_exit("") == "destroyed"


@pytest.mark.parametrize("program", ["command", "flow run"])
def test_a_program_exits_without_garbage_collection(program: str) -> None:
    said = _left_at_exit(_OUR_OWN[program])
    assert {"command": "reeldex ", "flow run": "PREFECT__FLOW_RUN_ID"}[program] in said, "it was run"
    assert "destroyed" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "said"), [("flow run", "'PREFECT__FLOW_RUN_ID' True\n"), ("server", "True True\n")]
)
def test_what_a_program_has_loaded_is_permanent(program: str, said: str) -> None:
    assert _left_at_exit(_OUR_OWN[program]) == said


def test_exit_handlers_that_are_registered_later_run_before() -> None:
    script = """
import atexit
from reeldex.garbage_collection import skip_garbage_collection_at_exit
skip_garbage_collection_at_exit()
atexit.register(lambda: globals().update(left=Cycle(), written=os.write(1, b"handled")))
"""
    assert _left_at_exit(script) == "handled", "what the handler leaves is not looked at"


def test_what_reports_objects_that_are_left_finds_none() -> None:
    script = """
from reeldex.garbage_collection import skip_garbage_collection_at_exit
skip_garbage_collection_at_exit()
of_a_library = type("nb_type_0", (type,), {"__module__": "nanobind"})  # as triton has, which not every machine has
"""
    assert _left_at_exit(script) == "destroyed"


def test_after_an_exception_nothing_is_permanent_and_collection_is_on() -> None:
    script = """
import gc
from reeldex.garbage_collection import permanent_objects
try:
    with permanent_objects():
        raise RuntimeError
except RuntimeError:
    os.write(1, str((gc.isenabled(), gc.get_freeze_count())).encode())
os._exit(0)
"""
    assert _left_at_exit(script) == "(True, 0)"


def test_permanent_objects_are_looked_at_by_no_collection() -> None:
    script = """
import gc
from reeldex.garbage_collection import permanent_objects
gc.collect()
with permanent_objects():
    assert not gc.isenabled()
    kept = [Cycle() for _ in range(3)]
    del kept
assert gc.isenabled()
gc.collect()
os.write(1, b"nothing")
del left
later = Cycle()
del later
gc.collect()
os._exit(0)
"""
    assert _left_at_exit(script) == "nothingdestroyed", "what was made later alone"
