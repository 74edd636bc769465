"""`reeldex status`, `verify`, `export` and `import`: commands on a feature store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from reeldex.cli import terminal
from reeldex.cli.command import Output, command
from reeldex.cli.server_choice import ServerChoice, uses_server
from reeldex.cli.settings import pairs
from reeldex.errors import UsageError
from reeldex.quantities import counted, data_size

Store = Annotated[str, Parameter(help="Folder of the feature store.")]


@command(
    "status",
    details="Files that cannot be read (permissions, limits, disk errors) are listed separately: their "
    "shards are neither done nor unfinished.\n\n"
    "Exit status: 0 everything is done; 1 something failed, is unfinished or cannot be read; 2 wrong usage.",
    example="reeldex status ~/features --failures",
)
def status(
    store: Store,
    /,
    *,
    failures: Annotated[bool, Parameter(help="List every failed or truncated video with a remedy.")] = False,
    output: Output,
) -> int:
    """Show the progress of a store, and what failed."""
    from reeldex.flows.extraction.run_report import present_outcomes
    from reeldex.storage.json_codec import to_json
    from reeldex.storage.store import FeatureStore

    opened = FeatureStore(store)
    found = opened.status()
    answer: dict[str, Any] = found.to_json()
    text = terminal.describe_status(opened.path, found)
    if failures:
        listed = [each for each in present_outcomes(opened) if each.message]
        answer["failures"] = [to_json(each) for each in listed]
        text = "\n".join([text, *(terminal.describe_failure(each) for each in listed)])
    output.respond(answer, text)
    return 1 if found.failed or found.shards_unfinished or found.unreadable else 0


@command(
    "verify",
    details="Files that cannot be read are listed separately: they are not known to be damaged.\n\n"
    "Exit status: 0 no damage found; 1 something is damaged or cannot be read; 2 wrong usage.",
    example="reeldex verify ~/features",
)
def verify(store: Store, /, *, server: ServerChoice = None, output: Output) -> int:
    """Read every byte of a store and report damage."""
    from reeldex.storage.store import FeatureStore

    opened = FeatureStore(store)
    if uses_server(server, verbose=output.verbose):
        from reeldex.flows.verify import verify_as_flow_run as run_verification
    else:
        from reeldex.flows.extraction.verification import verify_here as run_verification
    report = run_verification(opened)
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
        f"{counted(report.checked_files, 'file')}, {counted(report.checked_videos, 'video')}, "
        f"{data_size(report.checked_bytes)} read: " + (", ".join(found) or "no damage found")
    ]
    for each in report.damages:
        video = f", video {each.video_id!r}" if each.video_id else ""
        lines.append(f"  {each.file}{video}: {each.what.rstrip('.')}. {each.remedy}")
    lines += [f"  {each.file}: cannot be read: {each.why}. {each.remedy}" for each in report.unreadable]
    output.respond(answer, "\n".join(lines))
    return 0 if report.sound else 1


@command(
    "export",
    details="The published layout is OUT/<space>/<video id>.npy. Each file is a (rows, 2048) float16 array.\n\n"
    "Exit status: 0 exported; 2 wrong usage.",
    example="reeldex export ~/features ~/npy",
)
def export(
    store: Store,
    out: Annotated[Path, Parameter(help="Folder for the .npy files.")],
    /,
    *,
    space: Annotated[tuple[str, ...], Parameter(metavar="NAME", help="Only this feature space (repeatable).")] = (),
    overwrite: Annotated[bool, Parameter(help="Replace files with other content.")] = False,
    output: Output,
) -> int:
    """Write features as .npy files in the published layout."""
    from reeldex.storage.convert import export_npy
    from reeldex.storage.store import FeatureStore

    report = export_npy(FeatureStore(store), out, list(space) or None, overwrite=overwrite)
    answer = {"written": report.written, "unchanged": report.unchanged, "written_bytes": report.written_bytes}
    text = (
        f"Wrote {counted(report.written, 'file')} ({data_size(report.written_bytes)}), "
        f"skipped {report.unchanged:,} already present"
    )
    output.respond(answer, f"{text}: {out}")
    return 0


@command(
    "import",
    details="NPY_DIR holds <space>/<video id>.npy. Arrays must be (rows, dimensions) float16. Videos that are "
    "already in the store are skipped.\n\nExit status: 0 imported; 2 wrong usage.",
    example="reeldex import ~/npy ~/features",
)
def import_(
    npy_dir: Annotated[Path, Parameter(help="Folder with one folder of .npy files per feature space.")],
    store: Annotated[str, Parameter(help="Folder of the feature store; created if absent.")],
    /,
    *,
    seconds_per_row: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="SPACE=S",
            help="Seconds of video per row, for a space of an extractor that is not registered (repeatable).",
        ),
    ] = (),
    output: Output,
) -> int:
    """Import .npy features into a store."""
    from reeldex.extractors.registry import EXTRACTORS
    from reeldex.storage.convert import import_npy
    from reeldex.storage.store import FeatureStore

    if not npy_dir.is_dir():
        raise UsageError(f"No such folder: {str(npy_dir)!r}.")
    seconds = {
        folder.name: EXTRACTORS[folder.name.partition(".")[0]].spec.seconds_per_row
        for folder in sorted(npy_dir.iterdir())
        if folder.name.partition(".")[0] in EXTRACTORS
    }
    for space, text in pairs(seconds_per_row, "--seconds-per-row SPACE=S").items():
        try:
            seconds[space] = float(text)
        except ValueError as error:
            raise UsageError(f"--seconds-per-row {space}={text}: {text!r} is not a number.") from error
    opened = FeatureStore(store, create=True)
    with opened.lock():
        report = import_npy(npy_dir, opened, seconds_per_row=seconds)
    answer = {"imported": report.imported, "already_there": report.already_there}
    output.respond(
        answer, f"Imported {counted(report.imported, 'video')}, skipped {report.already_there:,} already present"
    )
    return 0
