"""Names of flow runs, the work pool and the tag on a Prefect server."""

from __future__ import annotations

from pathlib import PurePath

# The work pool of the runs, and the tags of all objects that reeldex creates and of those of schedules.
WORK_POOL = "reeldex"
TAG = "reeldex"
SCHEDULED_TAG = "scheduled"


def extract_run_name() -> str:
    """Return a name such as `extract kitchen-videos 2026-11-22 14:03`, in local time."""
    return _name("extract", "source")


def rerun_run_name() -> str:
    """Return a name such as `rerun-failed features 2026-11-22 14:03`."""
    return _name("rerun-failed", "store")


def verify_run_name() -> str:
    """Return a name such as `verify features 2026-11-22 14:03`."""
    return _name("verify", "store")


def train_run_name() -> str:
    """Return a name such as `train msrvtt 2026-11-22 14:03`."""
    return _name("train", "dataset")


def evaluate_run_name() -> str:
    """Return a name such as `evaluate best.pth 2026-11-22 14:03`."""
    return _name("evaluate", "checkpoint")


def index_run_name() -> str:
    """Return a name such as `index features 2026-11-22 14:03`."""
    return _name("index", "store")


def pipeline_run_name() -> str:
    """Return a name such as `pipeline kitchen-videos 2026-11-22 14:03`."""
    return _name("pipeline", "source")


def _name(flow: str, parameter: str) -> str:
    from prefect.runtime import flow_run

    subject = str(flow_run.parameters.get(parameter))
    started = flow_run.scheduled_start_time
    return f"{flow} {PurePath(subject).name or subject} {started.astimezone():%Y-%m-%d %H:%M}"
