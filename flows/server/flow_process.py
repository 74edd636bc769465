"""The process of a flow run (`python -m reeldex.flows.server.flow_process`): it ends with its worker.

Prefect starts each flow in a new session, which would survive a killed worker and continue computing.
"""

from __future__ import annotations

import os
import runpy
from uuid import UUID

from reeldex.flows.execution.process_group import become_group_leader, end_group_with_program
from reeldex.garbage_collection import permanent_objects, skip_garbage_collection_at_exit


def main() -> None:
    """Run the flow run that the environment names, and exit when the worker ends."""
    skip_garbage_collection_at_exit()
    become_group_leader()
    end_group_with_program()
    with permanent_objects():
        from reeldex.flows.server.former_parameters import take_former_parameters

    if take_former_parameters(UUID(os.environ["PREFECT__FLOW_RUN_ID"])):
        # Not as sys.modules["__main__"] (`alter_sys`), which multiprocessing imports in each worker process: Prefect
        # takes half a second of CPU time and 50 MB.
        runpy.run_module("prefect.engine", run_name="__main__")


if __name__ == "__main__":
    main()
