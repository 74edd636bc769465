"""`reeldex index`, `search`, `page` and `run`."""

from __future__ import annotations

import logging
import math
import shlex
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reeldex.cli import terminal
from reeldex.cli.command import NonEmptyPath, Output, command
from reeldex.cli.learning import WORD_SETTINGS, WORD_TRAINING_SETTINGS
from reeldex.cli.server_choice import ServerChoice, uses_server
from reeldex.cli.settings import Given, setting, settings_of
from reeldex.errors import UsageError
from reeldex.flows.config.learning import TestSet, TrainingDataset
from reeldex.flows.config.notify import REVEALED
from reeldex.flows.config.pipeline import PipelineConfig, WhenBusy, parse_config
from reeldex.flows.config.search import IndexConfig

if TYPE_CHECKING:
    from reeldex.flows.extraction.prepare import PreparedRun
    from reeldex.flows.extraction.run_report import RunReport
    from reeldex.flows.learning.pipeline import PipelineReport, PipelineRequest
    from reeldex.search.index import SearchIndex
    from reeldex.search.results import Moment, SearchResults

_INDEX_FOLDER = setting("index.folder", "Index", "--index")

MovedCheckpoint = Annotated[Path | None, Parameter(metavar="FILE", help="Checkpoint of the index, if it was moved.")]


@command(
    "index",
    details="Moments are caption windows for videos in --captions, else windows of --window-seconds every "
    "--stride-seconds. Run it again to pick up new, changed and removed videos; another checkpoint needs another "
    "folder, or --rebuild. The current index remains in use until the new one is complete.\n\n"
    "Exit status: 0 the index is up to date; 1 it is, but some features cannot be used; 2 wrong usage, configuration "
    "or input.",
    example="reeldex index --store ~/features --checkpoint published --index ~/index",
    settings=(*settings_of("index", IndexConfig, "Index", folder="--index"), *WORD_SETTINGS),
)
def index(  # noqa: PLR0913 - each is an option
    *,
    store: Annotated[str, Parameter(metavar="DIR", help="Feature store of the videos.")],
    checkpoint: Annotated[
        str, Parameter(metavar="FILE", help="The embedding; `published` is the HowTo100M checkpoint.")
    ],
    rebuild: Annotated[
        bool,
        Parameter(help="Replace an index of another checkpoint, store or kind of moments, or a damaged one."),
    ] = False,
    server: ServerChoice = None,
    given: Given,
    output: Output,
) -> int:
    """Build or refresh the index of moments."""
    config = given.configuration()
    from reeldex.flows.learning.indexing import IndexingRequest, require_indexable

    request = IndexingRequest(store, checkpoint, config, rebuild)
    require_indexable(request)
    if uses_server(server, verbose=output.verbose):
        from reeldex.flows.index import index_as_flow_run as run_indexing
    else:
        from reeldex.flows.learning.in_process import index_here as run_indexing
    report = run_indexing(request)
    output.respond(report.to_json(), f"{report}")
    return 1 if report.failed else 0


@command(
    "search",
    details="Overlapping moments of a video are merged. Words that are not in the vocabulary are reported and "
    "ignored.\n\n"
    "Exit status: 0 answered; 2 wrong usage, no word known, or an index that cannot be used.",
    example='reeldex search "chop the onion" -k 5; reeldex search --like cooking01@12.5',
    settings=(_INDEX_FOLDER, *WORD_SETTINGS),
)
def search(  # noqa: PLR0913 - each is an option
    sentence: Annotated[str | None, Parameter(help="Description of the scene.")] = None,
    /,
    *,
    like: Annotated[
        str | None, Parameter(metavar="VIDEO@SECONDS", help="Instead: moments like the one at this time.")
    ] = None,
    k: Annotated[int, Parameter(name="-k", metavar="N", help="Number of results.", show_default=True)] = 10,
    videos: Annotated[
        str | None, Parameter(metavar="PATTERN", help="Only videos whose id matches, such as 'P01*'.")
    ] = None,
    no_merge: Annotated[bool, Parameter(name="--no-merge", help="Do not merge overlapping moments.")] = False,
    checkpoint: MovedCheckpoint = None,
    given: Given,
    output: Output,
) -> int:
    """List the moments that match a sentence or another moment."""
    if (sentence is None) == (like is None):
        raise UsageError("Give a sentence, or --like VIDEO@SECONDS.")
    moment = None if like is None else _moment(like)
    with _open(given.configuration(), checkpoint) as opened:
        more: dict[str, Any] = {"merge": not no_merge, "videos": videos}
        if sentence is not None:
            results = opened.search(sentence, k, **more)
        elif moment is not None:
            results = opened.like(*moment, k, **more)
    if results.unknown_words:
        terminal.report(f"ignored, not in the vocabulary: {', '.join(results.unknown_words)}", logging.WARNING)
    if not results:
        terminal.report("no other moment found.", logging.WARNING)
    output.respond(results.to_json(), _lines(results))
    return 0


@command(
    "page",
    details="Prints its address; press Ctrl-C to stop. Only this machine can reach it, and only files that the index "
    "names are shown. The page reloads the index automatically when it is rebuilt.\n\n"
    "Exit status: 0 stopped as requested; 2 wrong usage, or an index that cannot be used.",
    example="reeldex page --index ~/index",
    settings=(setting("page.port", "Page"), _INDEX_FOLDER, *WORD_SETTINGS),
)
def page(*, checkpoint: MovedCheckpoint = None, given: Given, output: Output) -> int:
    """Serve the search page on this machine."""
    del output  # it prints only the address
    config = given.configuration()
    from reeldex.cli.page import serve_page

    with _open(config, checkpoint) as opened:
        serve_page(opened, config)
    return 0


@command(
    "run",
    details="Extracts features, trains or uses an embedding, evaluates it and builds the index, into "
    "--out/features, --out/embedding and --out/index. Steps that are up to date are skipped: run it again to process "
    "new videos. pipeline.yaml configures each step; --set sets any key.\n\n"
    "Exit status: 0 all done; 1 finished, but some videos have no features; 2 wrong usage, configuration or input.",
    example="reeldex run ~/videos --out ~/searchable --checkpoint published",
    settings=(
        setting("extract.extractors", "Steps"),
        setting("extract.weights", "Steps"),
        setting("execution.engine", "Steps"),
        setting("index.captions", "Steps"),
        *WORD_SETTINGS,
        *WORD_TRAINING_SETTINGS,
    ),
)
def run(  # noqa: PLR0913 - each is an option
    source: Annotated[tuple[str, ...], Parameter(help="Folders, videos or lists.")],
    /,
    *,
    out: Annotated[NonEmptyPath, Parameter(metavar="DIR", help="Folder for all results.")],
    checkpoint: Annotated[
        str,
        Parameter(
            metavar="FILE", help="The embedding, or the checkpoint to start training from; `published` is HowTo100M's."
        ),
    ] = "",
    train_on: Annotated[
        TrainingDataset | None, Parameter(help="Train an embedding on this data set of SOURCE's videos.")
    ] = None,
    evaluate_on: Annotated[str, Parameter(metavar="A,B", help="Test sets of SOURCE's videos.")] = "",
    data: Annotated[str | None, Parameter(metavar="DIR", help="Folder with the files of these data sets.")] = None,
    wait: Annotated[float, Parameter(metavar="S", help="Seconds to wait for another run that uses the store.")] = 0.0,
    server: ServerChoice = None,
    given: Given,
    output: Output,
) -> int:
    """Go from a folder of videos to a searchable index in one command."""
    test_sets = _test_sets(evaluate_on)
    content = given.load().model_dump(mode="json", context=REVEALED)
    if data is not None:
        for name in {*test_sets, *([train_on] if train_on else [])}:
            content["datasets"][name.replace("-", "_")]["folder"] = data
    given.overlay(content)
    config = parse_config(content, "command line")
    from reeldex.embedding.errors import LossNotFiniteError
    from reeldex.errors import InfrastructureError
    from reeldex.flows.extraction.run_report import ShardsLostError
    from reeldex.flows.learning.pipeline import PipelineRequest

    first, *more = source
    request = PipelineRequest(first, out, config, checkpoint, train_on, tuple(test_sets), tuple(more))
    prepared = request.prepare()
    try:
        report = _run_pipeline(request, prepared, wait, server, output)
    except (ShardsLostError, LossNotFiniteError, InfrastructureError) as error:
        return output.refuse(error, 1)
    tables = f"\n\n{report.evaluation.tables}" if report.evaluation is not None else ""
    address = f"\n\nSearch it: reeldex page --index {shlex.quote(str(out / 'index'))}"
    output.respond(report.to_json(), f"{report}{tables}{address}")
    return 0 if report.succeeded else 1


def _run_pipeline(
    request: PipelineRequest, prepared: PreparedRun, wait_seconds: float, server: ServerChoice, output: Output
) -> PipelineReport:
    when_busy = WhenBusy.WAIT if wait_seconds else WhenBusy.FAIL
    if uses_server(server, verbose=output.verbose):
        from reeldex.flows.pipeline import pipeline_as_flow_run

        return pipeline_as_flow_run(request, prepared, when_busy, wait_seconds)
    from reeldex.flows.extraction.in_process import run_here
    from reeldex.flows.learning.in_process import evaluate_here, index_here, train_here
    from reeldex.flows.learning.pipeline import PipelineSteps, run_pipeline

    def extract_here(prepared: PreparedRun) -> RunReport:
        return run_here(prepared, when_busy, wait_seconds)

    return run_pipeline(request, prepared, PipelineSteps(extract_here, train_here, evaluate_here, index_here))


def _test_sets(text: str) -> list[TestSet]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in {each.value for each in TestSet}]
    if unknown:
        raise UsageError(f"Unknown test set {unknown[0]!r}. Test sets are: {', '.join(TestSet)}.")
    return [TestSet(name) for name in names]


def _open(config: PipelineConfig, checkpoint: Path | None) -> SearchIndex:
    from reeldex.flows.learning.inputs import open_words
    from reeldex.search.index import SearchIndex

    words = None if config.words.file is None else open_words(config.words.file, config)
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


def _lines(results: SearchResults) -> str:
    width = max((len(each.video_id) for each in results), default=0)
    return "\n".join(_line(number, each, width) for number, each in enumerate(results, 1))


def _line(number: int, moment: Moment, width: int) -> str:
    span = f"{_clock(moment.start_seconds)} - {_clock(moment.end_seconds)}"
    shown = f"{number:3}  {moment.video_id:{width}}  {span}  {moment.score:6.3f}  {moment.caption}".rstrip()
    # Captions and file names must not send control sequences to the terminal.
    return "".join(repr(each)[1:-1] if unicodedata.category(each) == "Cc" else each for each in shown)


def _clock(seconds: float) -> str:
    """Return a time such as `1:02:03.4`, without hours below one hour."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes:2}:{rest:04.1f}"
