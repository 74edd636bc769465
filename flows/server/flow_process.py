"""How a worker on this machine runs a flow (`python -m reeldex.flows.server.flow_process`): it ends with the worker.

Prefect starts each flow in a session of its own, which outlives a worker that is killed and would go on computing.
"""

from __future__ import annotations

import runpy

from reeldex.flows.execution.process_group import become_group_leader, end_group_with_program


def main() -> None:
    """Run the flow run that the environment names, and end when the worker is gone."""
    become_group_leader()
    end_group_with_program()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
