"""How a worker starts runs, and the job template of our server's work pool, which cannot be overridden."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reeldex.errors import UsageError


def run_command() -> str:
    """Return the command by which a worker on this machine starts a run: with this Python."""
    return f"{shlex.quote(sys.executable)} -m reeldex.flows.server.flow_process"


def job_variables() -> dict[str, object]:
    """Return how a worker on this machine starts a run: with this Python, in the current folder."""
    return {"command": run_command(), "working_dir": str(Path.cwd())}


def fixed_job_template(job_variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a base job template for a process pool that starts runs with exactly these `job_variables`.

    With Prefect's default template, the creator of a run can set a command, a folder and an environment, which the
    worker executes. With this one, the server rejects such variables. Raises UsageError for text that Prefect would
    interpret as a placeholder.
    """
    for name, value in job_variables.items():
        if "{{" in str(value):
            raise UsageError(f"The {name} {value!r} contains '{{{{', which Prefect replaces. Use another folder.")
    return {
        "job_configuration": {**job_variables, "name": "{{ name }}", "stream_output": "{{ stream_output }}"},
        "variables": {
            "type": "object",
            "properties": {
                "name": {
                    "title": "Name",
                    "description": "Name of the process in the worker's log.",
                    "anyOf": [{"type": "string"}, {"type": "null"}],
                    "default": None,
                },
                "stream_output": {
                    "title": "Stream Output",
                    "description": "Whether the worker's log shows what the process prints.",
                    "type": "boolean",
                    "default": True,
                },
            },
            "additionalProperties": False,
        },
    }
