"""`reeldex status` and `verify`: the state of a feature store."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from reeldex.cli import terminal
from reeldex.cli.command import Output, command
from reeldex.cli.server_choice import ServerChoice, uses_server
from reeldex.errors import UsageError
from reeldex.quantities import counted, data_size

Store = Annotated[str, Parameter(help="Folder of the feature store, or its URL (s3://...).")]


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
    failures: Annotated[
        bool, Parameter(help="List every video that failed, is truncated or has notes, with a remedy.")
    ] = False,
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
    "forget",
    details="A forgotten video is no longer counted, listed, retried or read. Its features stay in their files. A "
    "later extraction whose source holds the video extracts it again. IDs may also be paths, such as that of a file "
    "without features because its id belongs to another one.\n\n"
    "Exit status: 0 forgotten; 2 wrong usage, or an id that is not in the store.",
    example="reeldex forget ~/features removed_video",
)
def forget(
    store: Store,
    video_id: Annotated[tuple[str, ...], Parameter(name="ID", help="Ids (or paths) of videos.")] = (),
    /,
    *,
    left: Annotated[bool, Parameter(help="All videos that their source no longer holds.")] = False,
    wait: Annotated[float, Parameter(metavar="S", help="Seconds to wait for a run that uses the store.")] = 0.0,
    output: Output,
) -> int:
    """Stop counting videos, such as those that were removed from a list."""
    from reeldex.storage.store import FeatureStore

    if bool(video_id) == left:
        raise UsageError("Name the videos to forget by their ids, or give --left for all that left their source.")
    opened = FeatureStore(store)
    with opened.lock(wait):
        searches = opened.searches()
        names = list(dict.fromkeys(video_id))
        if left:
            counted_ids = {entry.video_id for entry in opened.current_entries()}
            names = sorted(searches.left & counted_ids) if searches is not None else []
        forgotten = opened.forget(names)
    output.respond({"forgotten": list(forgotten)}, f"Forgot {counted(len(forgotten), 'video')}")
    return 0


@command(
    "verify",
    details="Files that cannot be read are listed separately: they are not known to be damaged. With --sample, only "
    "part of the shards are read; nothing is known of the others.\n\n"
    "Exit status: 0 no damage found; 1 something is damaged or cannot be read; 2 wrong usage.",
    example="reeldex verify ~/features",
)
def verify(  # noqa: PLR0913 - each is an option
    store: Store,
    /,
    *,
    set_aside_records: Annotated[
        bool,
        Parameter(
            help="First rename damaged records beside the shards (forgotten.json, removed.json, searches.json), so "
            "that the store works without them; what it no longer knows is stated."
        ),
    ] = False,
    sample: Annotated[
        str, Parameter(metavar="N|N%", help="Read only this number or share of the shards, such as 50 or 1%.")
    ] = "",
    seed: Annotated[
        int | None,
        Parameter(metavar="N", help="Choice of the sample's shards, by default 0; the same seed repeats it."),
    ] = None,
    server: ServerChoice = None,
    output: Output,
) -> int:
    """Read every byte of a store, or of a sample of its shards, and report damage."""
    from reeldex.flows.extraction.verification import sample_of
    from reeldex.storage.json_codec import to_json
    from reeldex.storage.store import FeatureStore

    if seed is not None and not sample:
        raise UsageError("--seed chooses the shards of a --sample; give both.")
    sample_of(sample, seed or 0)  # refused before a run is created
    opened = FeatureStore(store)
    if uses_server(server, verbose=output.verbose):
        from reeldex.flows.verify import verify_as_flow_run as run_verification
    else:
        from reeldex.flows.extraction.verification import verify_here as run_verification
    report = run_verification(opened, set_aside_records=set_aside_records, sample=sample, seed=seed or 0)
    found = [f"{len(report.damages)} DAMAGED"] if report.damages else []
    found += [f"{len(report.unreadable)} CANNOT BE READ"] if report.unreadable else []
    lines = [
        f"{counted(report.checked_files, 'file')}, {counted(report.checked_videos, 'video')}, "
        f"{data_size(report.checked_bytes)} read: " + (", ".join(found) or "no damage found"),
        *([report.unchecked] if report.unchecked else []),
    ]
    for each in report.damages:
        video = f", video {each.video_id!r}" if each.video_id else ""
        lines.append(f"  {each.file}{video}: {each.what.rstrip('.')}. {each.remedy}")
    lines += [f"  {each.file}: cannot be read: {each.why}. {each.remedy}" for each in report.unreadable]
    output.respond(to_json(report), "\n".join(lines))
    return 0 if report.sound else 1
