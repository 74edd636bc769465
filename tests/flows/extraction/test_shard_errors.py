"""Errors of shards: the user's end the run, and an error within a shard leaves no decoders running."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reeldex.extractors import engine
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.extraction import shard_work
from reeldex.flows.extraction.events import VideoFinished
from reeldex.flows.extraction.networks import load_networks
from reeldex.flows.extraction.prepare import PreparedRun, prepare
from reeldex.flows.extraction.run import run_shards
from reeldex.user_folders import FolderNotWritableError
from tests.conftest import MakeVideo

if TYPE_CHECKING:
    from reeldex.flows.execution.jobs import OnEvent
    from reeldex.flows.execution.retries import RetryRule
    from reeldex.flows.extraction.shard_job import ShardJob

CONFIG: PipelineConfig = parse_config(
    {"extract": {"extractors": ["wide2d"], "weights": "random"}, "compute": {"device": "cpu"}}, "test"
)


@pytest.fixture
def prepared(tmp_path: Path, make_video: MakeVideo) -> PreparedRun:
    make_video(tmp_path / "videos" / "a.mp4", seconds=0.5)
    prepared = prepare(str(tmp_path / "videos"), str(tmp_path / "store"), CONFIG)
    prepared.file_new_shards()
    return prepared


class Failing:
    """An executor each of whose jobs ends with this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(
        self, jobs: Sequence[ShardJob], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        del devices, retries, on_event
        return {job.number: self._error for job in jobs}


def test_what_the_user_has_to_change_is_no_lost_shard(prepared: PreparedRun) -> None:
    error = FolderNotWritableError("The folder /state cannot be written. Select another one with XDG_STATE_HOME.")
    with pytest.raises(FolderNotWritableError) as raised:
        run_shards(prepared, prepared.all_tasks, Failing(error), {})
    assert raised.value is error


@pytest.mark.slow
def test_an_error_within_a_shard_ends_its_decoders_at_once(
    prepared: PreparedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = []

    def recorded(*arguments: Any, **named: Any) -> Generator[Any]:  # noqa: ANN401 - passed on
        engines.append(engine.extract(*arguments, **named))
        return engines[0]

    def refuse(event: object) -> None:
        if isinstance(event, VideoFinished):
            raise OSError("full")

    monkeypatch.setattr(shard_work, "extract", recorded)  # with a reference to what the real one returns
    networks = load_networks(prepared.spaces, CONFIG)
    with pytest.raises(OSError, match="full"):
        shard_work.run_shard(prepared.store, networks, shard=0, compute=CONFIG.compute, on_event=refuse)
    assert inspect.getgeneratorstate(engines[0]) == inspect.GEN_CLOSED
