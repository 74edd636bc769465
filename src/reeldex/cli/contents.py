"""`reeldex ls`, `show` and `rm`: what a store holds, and what it no longer is to hold."""

from __future__ import annotations

import contextlib
import fnmatch
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reeldex.cli.command import Output, command
from reeldex.errors import UsageError
from reeldex.quantities import counted, data_size, duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reeldex.storage.contents import SpaceContents, VideoContents
    from reeldex.storage.video_table import StoredVideo

Store = Annotated[str, Parameter(help="Folder of the feature store, or its URL (s3://...).")]


@command(
    "ls",
    details="One line per video, sorted by id: id, outcome, seconds, rows by feature space and path, separated "
    "by tabs. `reeldex status` counts them.\n\n"
    "Exit status: 0 listed; 1 no video matches the patterns; 2 wrong usage.",
    example="reeldex ls ~/features 'cooking/*'",
)
def ls(
    store: Store,
    pattern: Annotated[
        tuple[str, ...], Parameter(name="PATTERN", help="Only ids that match one of these, such as 'cooking/*'.")
    ] = (),
    /,
    *,
    outcome: Annotated[
        str | None, Parameter(metavar="NAME", help="Only videos with this outcome: ok, truncated, pending, timeout ...")
    ] = None,
    output: Output,
) -> int:
    """List the videos of a store."""
    from reeldex.storage.json_codec import to_json
    from reeldex.storage.store import FeatureStore

    found = [
        each
        for each in FeatureStore(store).videos()
        if (not pattern or any(fnmatch.fnmatchcase(each.video_id, one) for one in pattern))
        and outcome in (None, each.outcome)
    ]
    output.respond({"videos": [to_json(each) for each in found]}, "\n".join(map(_line, found)) or "no video")
    return 0 if found or not (pattern or outcome) else 1


@command(
    "show",
    details="Without an ID: the feature spaces with fingerprint, origin, size, and what their shards were made with. "
    "With IDs: path, outcome, times, rows, files and SHA-256 of these videos.\n\n"
    "Exit status: 0 shown; 2 wrong usage, or an id that is not in the store.",
    example="reeldex show ~/features cooking/onions.mp4",
)
def show(
    store: Store,
    video_id: Annotated[tuple[str, ...], Parameter(name="ID", help="Ids of videos (`reeldex ls` lists them).")] = (),
    /,
    *,
    output: Output,
) -> int:
    """Show the feature spaces of a store, or all that it holds of a video."""
    from reeldex.storage.contents import space_contents, video_contents
    from reeldex.storage.json_codec import to_json
    from reeldex.storage.store import FeatureStore

    opened = FeatureStore(store)
    if video_id:
        videos = [video_contents(opened, each) for each in dict.fromkeys(video_id)]
        answer: dict[str, Any] = {"videos": [to_json(each) for each in videos]}
        output.respond(answer, "\n\n".join(_describe_video(each) for each in videos))
        return 0
    spaces = [space_contents(opened, each) for each in opened.spaces()]
    answer = {
        "store": str(opened.path),
        "videos": opened.video_count(),
        "shards": opened.shard_count(),
        "spaces": [to_json(each) for each in spaces],
    }
    lines = [f"store    {opened.path}", f"videos   {opened.video_count():,}", f"shards   {opened.shard_count():,}"]
    output.respond(answer, "\n".join([*lines, *(line for each in spaces for line in _describe_space(each))]))
    return 0


@command(
    "rm",
    details="Removes features for good and frees their space on disk; video files are not touched. A removed video is "
    "forgotten as well (`reeldex forget` only stops counting a video and keeps its features): a later extraction whose "
    "source holds it extracts it again. A removed feature space is not made again by `reeldex rerun`, but by `reeldex "
    "extract` with its extractor. IDs may also be paths.\n\n"
    "Exit status: 0 removed; 2 wrong usage, or a video or feature space that is not in the store.",
    example="reeldex rm ~/features old.mp4",
)
def rm(  # noqa: PLR0913 - the command's options
    store: Store,
    video_id: Annotated[tuple[str, ...], Parameter(name="ID", help="Ids (or paths) of videos to remove.")] = (),
    /,
    *,
    space: Annotated[
        tuple[str, ...], Parameter(metavar="NAME", help="Remove this feature space of all videos (repeatable).")
    ] = (),
    dry_run: Annotated[bool, Parameter(help="Only show what would be removed.")] = False,
    wait: Annotated[float, Parameter(metavar="S", help="Seconds to wait for a run that uses the store.")] = 0.0,
    output: Output,
) -> int:
    """Remove videos or feature spaces from a store, with their features."""
    from reeldex.storage.json_codec import to_json
    from reeldex.storage.removal import NOTHING, remove_space, remove_videos
    from reeldex.storage.store import FeatureStore

    if bool(video_id) == bool(space):
        raise UsageError("Name the videos to remove by their ids, or a feature space with --space.")
    opened = FeatureStore(store)
    removed = NOTHING
    with contextlib.nullcontext() if dry_run else opened.lock(wait):
        if video_id:
            removed = remove_videos(opened, list(dict.fromkeys(video_id)), dry_run=dry_run)
        for each in dict.fromkeys(space):
            removed = removed.plus(remove_space(opened, each, dry_run=dry_run))
    done = "Would remove" if dry_run else "Removed"
    text = (
        f"{done} features of {counted(removed.videos, 'video')}: {counted(removed.rows, 'row')}, "
        f"{data_size(removed.size_bytes)}"
    )
    output.respond(to_json(removed), text)
    return 0


def _line(video: StoredVideo) -> str:
    seconds = "" if video.duration_seconds is None else f"{video.duration_seconds:.1f}"
    rows = ",".join(f"{space}={count}" for space, count in sorted(video.rows.items()))
    return "\t".join([_plain(video.video_id), video.outcome, seconds, rows, _plain(video.path)])


def _plain(text: str) -> str:
    """Return a name as it is, or quoted where it has characters that would break a line or a terminal."""
    return text if text.isprintable() else repr(text)


def _describe_space(space: SpaceContents) -> list[str]:
    counts = f"{counted(space.videos, 'video')}, {counted(space.rows, 'row')}, {data_size(space.size_bytes)}"
    lines = ["", f"{space.name}: {counts}, {space.origin}"]
    lines += [f"  {key}: {json.dumps(value)}" for key, value in _flat(space.fingerprint)]
    for key, values in space.made_with.items():
        found = ", ".join(f"{value} ({counted(count, 'shard')})" for value, count in values.items())
        lines.append(f"  made with {key}: {found}")
    if space.unread:
        lines.append(f"  {counted(space.unread, 'file')} cannot be read: see `reeldex verify`")
    return lines


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in sorted(settings.items()):
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found


def _describe_video(video: VideoContents) -> str:
    entry, outcome = video.entry, video.outcome
    lines = [f"{_plain(entry.video_id)}", f"  path      {_plain(entry.path)}"]
    if entry.size_bytes is not None and entry.mtime_ns is not None:
        changed = datetime.fromtimestamp(entry.mtime_ns / 1e9, UTC).isoformat(sep=" ", timespec="seconds")
        lines.append(f"  file      {data_size(entry.size_bytes)}, changed {changed}")
    lines.append(f"  outcome   {(outcome.reason or outcome.status) if outcome else 'pending'}, shard {video.shard}")
    if outcome and outcome.message:
        lines.append(f"  message   {outcome.message}")
    if outcome and outcome.duration_seconds is not None:
        lines.append(f"  duration  {outcome.duration_seconds:.3f} s ({duration(outcome.duration_seconds)})")
    for space, rows in sorted(video.rows.items()):
        lines.append(
            f"  {space}: {counted(rows.extent.row_count, 'row')} of {rows.extent.width} dimensions, from "
            f"{rows.start_seconds:g} s on every {rows.seconds_per_row:g} s"
        )
        lines.append(f"    {rows.file} at byte {rows.extent.offset_bytes}, SHA-256 {rows.extent.sha256}")
        lines += [f"    made with {key}: {value}" for key, value in sorted(rows.provenance.items())]
    return "\n".join(lines)
