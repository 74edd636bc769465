"""What each `reeldex` command does. Answers go to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reeldex.cli import terminal
from reeldex.cli.answers import Arguments, honest, pairs, respond
from reeldex.cli.server_choice import uses_server
from reeldex.errors import UsageError
from reeldex.extractors.errors import WeightsError
from reeldex.flows.config.pipeline import PipelineConfig, WhenBusy, load_config, parse_config
from reeldex.storage.schema import REASONS

if TYPE_CHECKING:
    from pathlib import Path

    from reeldex.extractors.weights import PretrainedWeights
    from reeldex.flows.extraction.prepare import PreparedRun
    from reeldex.flows.extraction.run_report import RunReport

_FAILURES_SHOWN = 20
# Section of the configuration -> the options that are called as its keys are.
_OPTIONS = {
    "extract": ("weights", "shard_videos", "video_id", "settle_seconds"),
    "compute": ("device", "precision", "decoders", "batch_rows"),
}


@honest
def run_extract(arguments: Arguments) -> int:
    """Extract what the store lacks, or only estimate the cost."""
    config = _config(arguments)
    from reeldex.flows.extraction.prepare import prepare

    prepared = prepare(arguments.source, arguments.store, config, only_estimate=arguments.dry_run)
    if arguments.dry_run:
        from reeldex.flows.extraction.cost import estimate

        cost = estimate(prepared)
        respond(arguments, cost.to_json(), str(cost))
        return 0
    report = prepared.report_if_nothing_to_do()
    if report is not None:
        return _report(arguments, report)
    if uses_server(arguments.server, verbose=arguments.verbose):
        from reeldex.flows.extract import extract_as_flow_run

        return _run(
            arguments,
            lambda: extract_as_flow_run(arguments.source, arguments.store, config, *_patience(arguments)),
        )
    return _run(arguments, lambda: _run_here(prepared, arguments))


@honest
def run_rerun(arguments: Arguments) -> int:
    """Process the shards of a store that lack something."""
    unknown = [reason for reason in arguments.reason if reason not in REASONS]
    if unknown:
        raise UsageError(f"There is no reason {unknown[0]!r}. Reasons are: {', '.join(REASONS)}.")
    if arguments.reason and not arguments.failed_videos:
        raise UsageError("--reason goes with --failed-videos.")
    config = _config(arguments)
    reasons = tuple(arguments.reason or REASONS) if arguments.failed_videos else ()
    from reeldex.flows.extraction.prepare import prepare_rerun

    prepared = prepare_rerun(arguments.store, config, reasons)
    report = prepared.report_if_nothing_to_do()
    if report is not None:
        return _report(arguments, report)
    if uses_server(arguments.server, verbose=arguments.verbose):
        from reeldex.flows.rerun import rerun_as_flow_run

        return _run(arguments, lambda: rerun_as_flow_run(arguments.store, config, reasons, *_patience(arguments)))
    return _run(arguments, lambda: _run_here(prepared, arguments))


def _patience(arguments: Arguments) -> tuple[WhenBusy, float]:
    return (WhenBusy.WAIT if arguments.wait else WhenBusy.FAIL, arguments.wait)


def _run_here(prepared: PreparedRun, arguments: Arguments) -> RunReport:
    from reeldex.flows.extraction.in_process import run_here

    return run_here(prepared, *_patience(arguments))


def _run(arguments: Arguments, work: Callable[[], RunReport]) -> int:
    from reeldex.flows.extraction.run_report import ShardsLostError

    try:
        report = work()
    except ShardsLostError as lost:
        report = lost.report
        sys.stderr.write(f"reeldex: {lost}\n")
    return _report(arguments, report)


def _report(arguments: Arguments, report: RunReport) -> int:
    text = [str(report)]
    if report.failed_by_reason or report.truncated:
        counts = ", ".join(f"{count} {reason}" for reason, count in report.failed_by_reason.items())
        text.append(f"without features: {counts or 'none'}; truncated, features kept: {report.truncated}")
        text += [terminal.describe_failure(each) for each in report.problems[:_FAILURES_SHOWN]]
        if report.problem_count > _FAILURES_SHOWN:
            more = report.problem_count - _FAILURES_SHOWN
            text.append(f"  ... and {more} more: reeldex status {arguments.store} --failures")
    if report.gone:
        text.append(f"{report.gone} videos of the store are not in this source; their features are kept.")
    respond(arguments, report.to_json(), "\n".join(text))
    return 0 if report.well else 1


@honest
def run_status(arguments: Arguments) -> int:
    """Count what the store holds."""
    from reeldex.flows.extraction.run_report import present_outcomes
    from reeldex.storage.store import FeatureStore

    store = FeatureStore(arguments.store)
    status = store.status()
    answer: dict[str, Any] = status.to_json()
    text = terminal.describe_status(store.path, status)
    if arguments.failures:
        listed = [each for each in present_outcomes(store) if each.message]
        answer["failures"] = [each.to_json() for each in listed]
        text = "\n".join([text, *(terminal.describe_failure(each) for each in listed)])
    respond(arguments, answer, text)
    return 1 if status.failed or status.shards_unfinished or status.unreadable else 0


@honest
def run_verify(arguments: Arguments) -> int:
    """Read every byte again."""
    from reeldex.storage.store import FeatureStore

    report = FeatureStore(arguments.store).verify()
    damages = [
        {"file": each.file, "video_id": each.video_id, "what": each.what, "remedy": each.remedy}
        for each in report.damages
    ]
    answer = {
        "checked_files": report.checked_files,
        "checked_videos": report.checked_videos,
        "checked_bytes": report.checked_bytes,
        "damages": damages,
        "unreadable": [asdict(each) for each in report.unreadable],
    }
    found = [f"{len(damages)} DAMAGED"] if damages else []
    found += [f"{len(report.unreadable)} CANNOT BE READ"] if report.unreadable else []
    lines = [
        f"{report.checked_files} files, {report.checked_videos} videos, {report.checked_bytes:,} bytes read: "
        + (", ".join(found) or "all sound")
    ]
    for each in report.damages:
        video = f", video {each.video_id!r}" if each.video_id else ""
        lines.append(f"  {each.file}{video}: {each.what} {each.remedy}")
    lines += [f"  {each.file}: cannot be read: {each.why}. {each.remedy}" for each in report.unreadable]
    respond(arguments, answer, "\n".join(lines))
    return 0 if report.sound else 1


@honest
def run_export(arguments: Arguments) -> int:
    """Write .npy files."""
    from reeldex.storage.convert import export_npy
    from reeldex.storage.store import FeatureStore

    store = FeatureStore(arguments.store)
    report = export_npy(store, arguments.out, arguments.space, overwrite=arguments.overwrite)
    answer = {"written": report.written, "unchanged": report.unchanged, "written_bytes": report.written_bytes}
    text = f"{report.written} files written ({report.written_bytes:,} bytes), {report.unchanged} were there already"
    respond(arguments, answer, f"{text}: {arguments.out}")
    return 0


@honest
def run_import(arguments: Arguments) -> int:
    """Take in .npy files."""
    from reeldex.extractors.registry import EXTRACTORS
    from reeldex.storage.convert import import_npy
    from reeldex.storage.store import FeatureStore

    if not arguments.npy.is_dir():
        raise UsageError(f"There is no folder {str(arguments.npy)!r}.")
    seconds_per_row = {
        folder.name: EXTRACTORS[folder.name.partition(".")[0]].spec.seconds_per_row
        for folder in sorted(arguments.npy.iterdir())
        if folder.name.partition(".")[0] in EXTRACTORS
    }
    for space, text in pairs(arguments.seconds_per_row, "--seconds-per-row SPACE=S").items():
        try:
            seconds_per_row[space] = float(text)
        except ValueError as error:
            raise UsageError(f"--seconds-per-row {space}={text}: {text!r} is no number.") from error
    store = FeatureStore(arguments.store, create=True)
    with store.lock():
        report = import_npy(arguments.npy, store, seconds_per_row=seconds_per_row)
    answer = {"imported": report.imported, "already_there": report.already_there}
    respond(arguments, answer, f"{report.imported} videos imported, {report.already_there} were there already")
    return 0


@honest
def run_weights(arguments: Arguments) -> int:
    """Fetch weights or say where they lie; the embedding's are fetched, and missed, only if they are asked for."""
    from reeldex.extractors.registry import EXTRACTORS
    from reeldex.flows.learning.published_files import published_checkpoint

    config = load_config(arguments.config).weights
    rows = {
        name: _weights_row(record.pretrained, config.files.get(name), config.folder, fetch=arguments.action == "fetch")
        for name, record in EXTRACTORS.items()
    }
    fetch = arguments.embedding and arguments.action == "fetch"
    embedding = _weights_row(published_checkpoint(), None, config.folder, fetch=fetch)
    asked_for = [*rows.values(), *([embedding] if arguments.embedding else [])]
    lines = [
        f"{name}: {row['state']}\n  {row['file']}\n  {row.get('error') or row['sha256'] or 'from ' + row['url']}"
        for name, row in {**rows, "embedding (HowTo100M)": embedding}.items()
    ]
    listed = [{"extractor": name, **row} for name, row in rows.items()]
    respond(arguments, {"weights": listed, "embedding": embedding}, "\n".join(lines))
    return 0 if all(row["state"] == "sound" for row in asked_for) else 1


def _weights_row(
    published: PretrainedWeights, local: Path | None, folder: Path | None, *, fetch: bool
) -> dict[str, Any]:
    from reeldex.extractors import weights

    path = weights.file_of(published, local, folder)
    row: dict[str, Any] = {"file": str(path), "url": published.url, "sha256": None}
    try:
        if fetch:
            weights.find_or_fetch(published, local, folder)
        row["sha256"] = weights.verify(path) if path.is_file() else None
        row["state"] = "sound" if row["sha256"] else "missing"
    except WeightsError as error:
        row["state"], row["error"] = ("damaged" if path.is_file() else "missing"), str(error)
    return row


@honest
def run_up(arguments: Arguments) -> int:
    """Serve until told to stop."""
    from reeldex.flows.server.up import UpOptions, up

    if not 0 < arguments.port < 65536:
        raise UsageError(f"--port {arguments.port}: ports are 1 to 65535.")
    if arguments.runs < 1:
        raise UsageError(f"--runs {arguments.runs}: at least one run at a time is needed.")
    up(load_config(arguments.config), UpOptions(arguments.port, arguments.home, arguments.runs, arguments.no_secret))
    return 0


def _config(arguments: Arguments) -> PipelineConfig:
    """Return the configuration with what the command line says put over it."""
    content = load_config(arguments.config).model_dump(mode="json")
    for section, names in _OPTIONS.items():
        content[section].update(
            {name: value for name in names if (value := getattr(arguments, name, None)) is not None}
        )
    if getattr(arguments, "extractors", None):
        content["extract"]["extractors"] = [name.strip() for name in arguments.extractors.split(",")]
    if arguments.timeout_seconds is not None:
        content["compute"]["limits"]["timeout_seconds"] = arguments.timeout_seconds
    content["weights"]["files"].update(pairs(arguments.weights_file, "--weights-file EXTRACTOR=PATH"))
    return parse_config(content, "command line")
