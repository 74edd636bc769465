"""How the work pool of a server of ours starts a run. No run and no deployment says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reeldex.errors import UsageError


def fixed_job_template(job_variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a base job template for a pool of processes that start runs as `job_variables` say, and only so.

    Prefect's own lets whoever creates a run give a command, a folder and an environment; the worker executes them.
    Here the server refuses any such variable. Raises UsageError for a text that Prefect would take for a placeholder.
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
