"""`reeldex extract` and `reeldex rerun`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from reeldex.cli import terminal
from reeldex.cli.command import Output, command
from reeldex.cli.server_choice import ServerChoice, uses_server
from reeldex.cli.settings import Given, Setting, pairs, setting, settings_of
from reeldex.errors import UsageError
from reeldex.extractors.options import DecodeOptions
from reeldex.flows.config.execution import ExecutionConfig
from reeldex.flows.config.extraction import ExtractConfig, WhenBusy
from reeldex.flows.config.notify import REVEALED
from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.extraction.hardware import Hardware
from reeldex.quantities import counted
from reeldex.storage.reasons import REASONS

if TYPE_CHECKING:
    from reeldex.flows.extraction.run_report import RunReport

_FAILURES_SHOWN = 20
_SHARD_RANGE = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
# For a command that has the store alone, such as `reeldex rm`: runs that share it wait for no run.
_SHARING_WAITS_SECONDS = 3600.0
_MOST_SHARDS = 10_000_000  # a mistyped range must not fill the memory
_EXITS = (
    "Exit status: 0 all videos have features, or skipped (--when-busy skip); 1 finished, but something failed; 2 wrong "
    "usage or configuration."
)
_COMPUTE: tuple[Setting, ...] = (
    setting("compute.device", "Computation"),
    setting("compute.precision", "Computation"),
    setting("compute.runtime", "Computation"),
    setting("compute.decoders", "Computation"),
    setting("compute.batch_rows", "Computation"),
    setting("compute.limits.timeout_seconds", "Computation"),
)
_FETCH: tuple[Setting, ...] = (
    setting("fetch.cache_folder", "Videos at URLs"),
    setting("fetch.cache_bytes", "Videos at URLs"),
    setting("fetch.max_video_bytes", "Videos at URLs"),
    setting("fetch.downloads", "Videos at URLs"),
)
_EXECUTION = settings_of("execution", ExecutionConfig, "Execution", address="--ray-address")
_MONITORING = (setting("monitoring.metrics_folder", "Monitoring"),)
_DECODE = settings_of("decode", DecodeOptions, "Decoding")

Store = Annotated[str, Parameter(help="Folder of the feature store, or its URL (s3://...).")]
WeightsFiles = Annotated[
    tuple[str, ...],
    Parameter(
        name="--weights-file",
        metavar="EXTRACTOR=PATH",
        help="Local checkpoint for an extractor (repeatable).",
    ),
]
Wait = Annotated[float, Parameter(metavar="S", help="Seconds to wait for another run that uses the store.")]
BusyChoice = Annotated[
    WhenBusy | None,
    Parameter(
        name="--when-busy",
        help="What to do while another run uses the store: wait, skip, fail, or share its shards (default: fail; wait "
        "with --wait). Runs that share may be on several machines; each ends when all its shards are done.",
    ),
]


@command(
    "extract",
    details="SOURCE is a folder (searched with its subfolders), a video, a quoted pattern ('videos/**/*.mp4'), or a "
    "list: .txt (one path per line), .csv, .tsv or .jsonl (column video_path, path or file; optionally video_id, "
    "start and end for clips, and seconds, the length, for --dry-run). Each may be a URL (s3://bucket/videos, "
    "https://host/a.mp4), and a list may name URLs; their videos are fetched ahead of the decoders. Several are "
    "extracted as one. New and changed videos are extracted, the others are skipped.\n\n" + _EXITS,
    example="reeldex extract ~/videos --store ~/features --weights random",
    settings=(
        *settings_of("extract", ExtractConfig, "Extraction"),
        *_DECODE,
        *_COMPUTE,
        *_FETCH,
        *_EXECUTION,
        *_MONITORING,
    ),
)
def extract(  # noqa: PLR0913 - each is an option
    source: Annotated[tuple[str, ...], Parameter(help="Folders, videos or lists, or URLs of these.")],
    /,
    *,
    store: Annotated[
        str, Parameter(metavar="DIR", help="Folder of the feature store, or its URL (s3://...); created if absent.")
    ],
    weights_file: WeightsFiles = (),
    wait: Wait = 0.0,
    when_busy: BusyChoice = None,
    server: ServerChoice = None,
    dry_run: Annotated[bool, Parameter(help="Estimate the cost without extracting.")] = False,
    at_speed: Annotated[
        float | None,
        Parameter(
            metavar="X",
            help="With --dry-run: estimate for a machine that extracts X seconds of video per second, as its reports "
            "say, instead of measuring this one.",
        ),
    ] = None,
    machines: Annotated[
        int | None, Parameter(metavar="N", help="With --dry-run: estimate for N machines that share the shards.")
    ] = None,
    given: Given,
    output: Output,
) -> int:
    """Extract features of all new and changed videos."""
    if not dry_run and (at_speed, machines) != (None, None):
        raise UsageError("--at-speed and --machines are about estimates; give --dry-run, too.")
    hardware = Hardware(at_speed, 1 if machines is None else machines)
    config, busy = _config(given, weights_file), _when_busy(when_busy, wait)
    from reeldex.flows.extraction.prepare import prepare

    prepared = prepare(source, store, config, only_estimate=dry_run)
    if dry_run:
        from reeldex.flows.execution.process_age import process_seconds
        from reeldex.flows.extraction.cost import estimate
        from reeldex.flows.extraction.search_notes import describe_notes, notes_to_json

        cost = estimate(prepared, process_seconds(), hardware)
        notes = prepared.found.notes if prepared.found is not None else ()
        answer = {**cost.to_json(), "notes": notes_to_json(notes)}
        output.respond(answer, "\n".join([str(cost), *describe_notes(notes)]))
        return 0
    if uses_server(server, verbose=output.verbose):
        from reeldex.flows.extract import extract_as_flow_run as run_extraction
    else:
        from reeldex.flows.extraction.in_process import run_here as run_extraction
    return _run(lambda: run_extraction(prepared, *busy), store, output)


@command(
    "rerun",
    details="Each shard uses the extractors, weights and options of decoding (--tone-map, --square-pixels ...) it was "
    "planned for; other options are refused. Shards that `reeldex verify` found "
    "damaged are extracted again. Videos that failed are skipped unless --failed-videos is given. With --shards or "
    "--videos, only these are extracted again, complete or not; their features stay until "
    "the new ones replace them.\n\n" + _EXITS,
    example="reeldex rerun ~/features --failed-videos --reason timeout --timeout-seconds 7200",
    settings=(*_DECODE, *_COMPUTE, *_FETCH, *_EXECUTION, *_MONITORING),
)
def rerun(  # noqa: PLR0913 - each is an option
    store: Store,
    /,
    *,
    failed_videos: Annotated[bool, Parameter(help="Also retry the videos that failed.")] = False,
    reason: Annotated[
        tuple[str, ...],
        Parameter(metavar="R", help="Only those that failed for this reason (repeatable)."),
    ] = (),
    shards: Annotated[
        tuple[str, ...],
        Parameter(metavar="N,N...", help="Extract these shards again, such as 3,7 or 3-7 (repeatable)."),
    ] = (),
    videos: Annotated[
        tuple[str, ...],
        Parameter(metavar="ID...", consume_multiple=True, help="Extract the videos with these ids again (repeatable)."),
    ] = (),
    weights_file: WeightsFiles = (),
    wait: Wait = 0.0,
    when_busy: BusyChoice = None,
    server: ServerChoice = None,
    given: Given,
    output: Output,
) -> int:
    """Process missing, incomplete or damaged shards."""
    unknown = [each for each in reason if each not in REASONS]
    if unknown:
        raise UsageError(f"Unknown reason {unknown[0]!r}. Reasons are: {', '.join(REASONS)}.")
    if reason and not failed_videos:
        raise UsageError("--reason requires --failed-videos.")
    config, busy = _config(given, weights_file), _when_busy(when_busy, wait)
    reasons = (reason or REASONS) if failed_videos else ()
    from reeldex.flows.extraction.choice import Choice
    from reeldex.flows.extraction.prepare import prepare_rerun

    prepared = prepare_rerun(store, config, reasons, Choice(_shard_numbers(shards), videos))
    if uses_server(server, verbose=output.verbose):
        from reeldex.flows.rerun import rerun_as_flow_run as run_extraction
    else:
        from reeldex.flows.extraction.in_process import run_here as run_extraction
    return _run(lambda: run_extraction(prepared, *busy), store, output)


def _shard_numbers(texts: tuple[str, ...]) -> tuple[int, ...]:
    """Return the numbers of `3,7` and `3-7`, each once. Raises UsageError."""
    numbers: dict[int, None] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        match = _SHARD_RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first:
            raise UsageError(
                f"--shards {','.join(texts)}: {part!r} is not a shard number. Give numbers, as in 3,7 or 3-7."
            )
        if last - first > _MOST_SHARDS:
            raise UsageError(f"--shards {part}: these are more shards than a store has.")
        numbers.update(dict.fromkeys(range(first, last + 1)))
    return tuple(numbers)


def _config(given: Given, weights_files: tuple[str, ...]) -> PipelineConfig:
    content = given.load().model_dump(mode="json", context=REVEALED)
    given.overlay(content)
    content["weights"]["files"].update(pairs(weights_files, "--weights-file EXTRACTOR=PATH"))
    return parse_config(content, "command line")


def _when_busy(choice: WhenBusy | None, wait: float) -> tuple[WhenBusy, float]:
    if choice is None:
        return (WhenBusy.WAIT if wait else WhenBusy.FAIL, wait)
    if choice is WhenBusy.WAIT and not wait:
        raise UsageError("--when-busy wait: say how many seconds to wait, such as --wait 3600.")
    if wait and choice in {WhenBusy.SKIP, WhenBusy.FAIL}:
        raise UsageError(f"--when-busy {choice} does not wait: leave out --wait.")
    return (choice, wait or (_SHARING_WAITS_SECONDS if choice is WhenBusy.SHARE else 0.0))


def _run(work: Callable[[], RunReport], store: str, output: Output) -> int:
    from reeldex.flows.extraction.run_report import ShardsLostError
    from reeldex.flows.extraction.store_use import RunSkippedError

    try:
        report = work()
    except RunSkippedError as skipped:
        output.respond({"skipped": str(skipped)}, str(skipped))
        return 0
    except ShardsLostError as lost:
        report = lost.report
        terminal.report(str(lost))
    return _report(store, report, output)


def _report(store: str, report: RunReport, output: Output) -> int:
    from reeldex.flows.extraction.search_notes import describe_notes
    from reeldex.storage.ffmpeg_versions import mixture

    text = [str(report), *(f"  {line}" for line in report.time.lines())]
    if report.problem_count:
        counts = ", ".join(f"{count} {reason}" for reason, count in report.failed_by_reason.items())
        text.append(f"without features: {counts or 'none'}; truncated, features kept: {report.truncated}")
        if report.noted:
            text.append(f"notes: {terminal.describe_notes(report.noted)}")
        text += [terminal.describe_failure(each) for each in report.problems[:_FAILURES_SHOWN]]
        if report.problem_count > _FAILURES_SHOWN:
            more = report.problem_count - _FAILURES_SHOWN
            text.append(f"  ... and {more} more: reeldex status {store} --failures")
    text += describe_notes(report.notes)
    if mixed := mixture(report.ffmpeg_versions):
        text.append(f"WARNING: {mixed}")
    if report.gone:
        text.append(f"{counted(report.gone, 'video')} of the store not in this source; features are kept.")
    output.respond(report.to_json(), "\n".join(text))
    return 0 if report.succeeded else 1
