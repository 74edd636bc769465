"""What `reeldex index`, `search`, `page` and `run` do."""

from __future__ import annotations

import math
import shlex
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reeldex.cli.answers import Arguments, honest, refuse, respond
from reeldex.cli.overrides import put_given, put_settings, put_words
from reeldex.cli.server_choice import uses_server
from reeldex.errors import UsageError
from reeldex.flows.config.learning import TestSet, TrainingDataset
from reeldex.flows.config.pipeline import PipelineConfig, WhenBusy, load_config, parse_config

if TYPE_CHECKING:
    from reeldex.flows.extraction.run_report import RunReport
    from reeldex.flows.learning.pipeline import PipelineReport, PipelineRequest
    from reeldex.search.index import SearchIndex
    from reeldex.search.results import Moment, SearchResults

_INDEX = ("captions", "window_seconds", "stride_seconds", "factory", "missing_files", "space_2d", "space_3d", "device")


@honest
def run_index(arguments: Arguments) -> int:
    """Build the index of moments, or bring it up to date."""
    config = _config(arguments, _INDEX)
    from reeldex.flows.learning.indexing import IndexingRequest, require_indexable

    request = IndexingRequest(arguments.store, arguments.checkpoint, config, arguments.rebuild)
    require_indexable(request)
    if uses_server(arguments.server, verbose=arguments.verbose):
        from reeldex.flows.index import index_as_flow_run as index
    else:
        from reeldex.flows.learning.in_process import index_here as index
    report = index(request)
    respond(arguments, report.to_json(), f"{report}")
    return 1 if report.failed else 0


@honest
def run_search(arguments: Arguments) -> int:
    """Answer from the index."""
    if (arguments.sentence is None) == (arguments.like is None):
        raise UsageError("Give a sentence, or --like VIDEO@SECONDS.")
    moment = None if arguments.like is None else _moment(arguments.like)
    config = _config(arguments)
    with _open(arguments, config) as index:
        more: dict[str, Any] = {"merge": not arguments.no_merge, "videos": arguments.videos}
        if moment is None:
            results = index.search(arguments.sentence, arguments.k, **more)
        else:
            results = index.like(*moment, arguments.k, **more)
    if results.unknown_words:
        sys.stderr.write(f"reeldex: words without a vector, left out: {', '.join(results.unknown_words)}\n")
    if not results:
        sys.stderr.write("reeldex: no moment found; there is none beside the one asked about.\n")
    respond(arguments, results.to_json(), _answers(results))
    return 0


@honest
def run_page(arguments: Arguments) -> int:
    """Serve the search page until told to stop."""
    content = load_config(arguments.config).model_dump(mode="json")
    if arguments.port is not None:
        content["page"]["port"] = arguments.port
    config = _config(arguments, content=content)
    from reeldex.cli.page import serve_page

    with _open(arguments, config) as index:
        serve_page(index, config)
    return 0


@honest
def run_run(arguments: Arguments) -> int:
    """Extract, train or use an embedding, evaluate and index."""
    content = load_config(arguments.config).model_dump(mode="json")
    if arguments.weights is not None:
        content["extract"]["weights"] = arguments.weights
    if arguments.captions is not None:
        content["index"]["captions"] = arguments.captions
    tests = [name.strip() for name in (arguments.evaluate_on or "").split(",") if name.strip()]
    unknown = [name for name in tests if name not in {each.value for each in TestSet}]
    if unknown:
        raise UsageError(f"There is no test set {unknown[0]!r}. Test sets are: {', '.join(TestSet)}.")
    if arguments.data is not None:
        for name in {*tests, *([arguments.train_on] if arguments.train_on else [])}:
            content["datasets"][name.replace("-", "_")]["folder"] = arguments.data
    config = _config(arguments, content=content)
    from reeldex.embedding.errors import LossNotFiniteError
    from reeldex.errors import InfrastructureError
    from reeldex.flows.extraction.run_report import ShardsLostError
    from reeldex.flows.learning.pipeline import PipelineRequest

    train_on = TrainingDataset(arguments.train_on) if arguments.train_on else None
    test_sets = tuple(TestSet(name) for name in tests)
    request = PipelineRequest(arguments.source, arguments.out, config, arguments.checkpoint or "", train_on, test_sets)
    request.require_runnable()
    try:
        report = _run_pipeline(arguments, request)
    except (ShardsLostError, LossNotFiniteError, InfrastructureError) as error:
        return refuse(arguments, error, 1)
    tables = f"\n\n{report.evaluation.tables}" if report.evaluation is not None else ""
    page = f"\n\nSearch it: reeldex page --index {shlex.quote(str(arguments.out / 'index'))}"
    respond(arguments, report.to_json(), f"{report}{tables}{page}")
    return 0 if report.well else 1


def _run_pipeline(arguments: Arguments, request: PipelineRequest) -> PipelineReport:
    when_busy = WhenBusy.WAIT if arguments.wait else WhenBusy.FAIL
    if uses_server(arguments.server, verbose=arguments.verbose):
        from reeldex.flows.pipeline import pipeline_as_flow_run

        return pipeline_as_flow_run(request, when_busy, arguments.wait)
    from reeldex.flows.extraction.in_process import run_here
    from reeldex.flows.extraction.prepare import prepare
    from reeldex.flows.learning.in_process import evaluate_here, index_here, train_here
    from reeldex.flows.learning.pipeline import PipelineSteps, run_pipeline

    def extract_here(request: PipelineRequest) -> RunReport:
        prepared = prepare(request.source, request.store, request.config)
        return prepared.report_if_nothing_to_do() or run_here(prepared, when_busy, arguments.wait)

    return run_pipeline(request, PipelineSteps(extract_here, train_here, evaluate_here, index_here))


def _config(
    arguments: Arguments, index_options: tuple[str, ...] = (), content: dict[str, Any] | None = None
) -> PipelineConfig:
    """Return the configuration with what the command line says put over it."""
    content = load_config(arguments.config).model_dump(mode="json") if content is None else content
    put_settings(content, arguments)
    put_words(content["words"], arguments)
    put_given(content["index"], arguments, index_options)
    if getattr(arguments, "index", None) is not None:
        content["index"]["folder"] = arguments.index
    return parse_config(content, "command line")


def _open(arguments: Arguments, config: PipelineConfig) -> SearchIndex:
    from reeldex.flows.learning.inputs import open_words
    from reeldex.search.index import SearchIndex

    words = None if config.words.file is None else open_words(config.words.file, config)
    checkpoint = None if arguments.checkpoint is None else Path(arguments.checkpoint)
    return SearchIndex.open(config.index.folder, checkpoint=checkpoint, word_vectors=words)


def _moment(text: str) -> tuple[str, float]:
    video_id, at, seconds = text.rpartition("@")
    try:
        at_seconds = float(seconds)
    except ValueError:
        at_seconds = math.nan
    if not (at and video_id and math.isfinite(at_seconds) and at_seconds >= 0):
        raise UsageError(f"--like {text}: give VIDEO@SECONDS, such as cooking01@12.5.")
    return video_id, at_seconds


def _answers(results: SearchResults) -> str:
    width = max((len(each.video_id) for each in results), default=0)
    return "\n".join(_line(number, each, width) for number, each in enumerate(results, 1))


def _line(number: int, moment: Moment, width: int) -> str:
    span = f"{_clock(moment.start_seconds)} - {_clock(moment.end_seconds)}"
    shown = f"{number:3}  {moment.video_id:{width}}  {span}  {moment.score:6.3f}  {moment.caption}".rstrip()
    # A caption file or a file name is not to command the terminal.
    return "".join(repr(each)[1:-1] if unicodedata.category(each) == "Cc" else each for each in shown)


def _clock(seconds: float) -> str:
    """Return `1:02:03.4`, hours only where there are any."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes:2}:{rest:04.1f}"
