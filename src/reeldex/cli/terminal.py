"""Text about runs and stores for a terminal, and the destination of the log."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.flows.execution.logs import OUR_LOGGER, JsonLines, logs_as_json
from reeldex.quantities import counted, data_size, duration
from reeldex.storage.reasons import note_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reeldex.storage.schema import VideoOutcome
    from reeldex.storage.status import StoreStatus


log = logging.getLogger(__name__)


def set_up_logging(*, verbose: bool, log_format: str = "text") -> None:
    """Send the packages' log to standard error: warnings, or everything with `verbose`.

    As JSON, or where standard error is not a terminal, information is part of it: no bar shows the progress.
    """
    from rich.console import Console
    from rich.logging import RichHandler

    handler: logging.Handler
    shows_bar = sys.stderr.isatty() and log_format == "text"
    if shows_bar:
        handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
    else:
        handler = logging.StreamHandler()
        text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
        handler.setFormatter(JsonLines() if log_format == "json" else text)
    # The command itself prints how a run ended; the log record is for other clients of the server.
    handler.addFilter(lambda record: record.name != "reeldex.flows.runs.states")
    logger = logging.getLogger(OUR_LOGGER)
    logger.handlers[:] = [handler]
    logger.propagate = False  # Prefect installs its own handler on the root logger
    logger.setLevel(logging.INFO if verbose or not shows_bar else logging.WARNING)


def report(text: str, level: int = logging.ERROR) -> None:
    """Print a message of the command on standard error: after `reeldex:`, or as a line of a JSON log."""
    if logs_as_json():
        log.log(level, "%s", text)
    else:
        sys.stderr.write(f"reeldex: {text}\n")


def describe_failure(outcome: VideoOutcome) -> str:
    """Return one line on a video that failed, is truncated or has notes: path, reason, remedy."""
    from reeldex.flows.extraction.file_names import printable  # it imports NumPy, which --help does not need

    labels = [*filter(None, [outcome.reason]), *map(note_words, outcome.notes)] or ["decoded with errors"]
    return f"  {printable(outcome.path)!r}: {', '.join(labels)}: {outcome.message}"


def describe_notes(noted: Mapping[str, int]) -> str:
    """Return how many videos have each note."""
    return ", ".join(f"{count} {note_words(note)}" for note, count in noted.items()) or "none"


def describe_status(path: Path, status: StoreStatus) -> str:
    """Return the lines of `reeldex status`."""
    from reeldex.storage.ffmpeg_versions import mixture  # it imports pydantic, which --help does not need

    speed = status.seconds_of_video_ok / status.seconds_of_work if status.seconds_of_work else 0.0
    failed = ", ".join(f"{count} {reason}" for reason, count in sorted(status.failed_by_reason.items()))
    videos = (
        f"{status.videos_total}: {status.ok} ok ({status.truncated} truncated), {status.failed} failed, "
        f"{status.pending} pending ({status.staged} of them staged)"
    )
    left = ", ".join(f"{count} {kind}" for kind, count in status.left_source.items())
    closed = f", {status.shards_unreadable} cannot be read" if status.shards_unreadable else ""
    lines = [
        f"store    {path}",
        f"shards   {status.shards_done} done, {status.shards_unfinished} unfinished{closed}",
        f"videos   {videos}",
        f"failed   {failed or 'none'}",
        f"notes    {describe_notes(status.noted)}",
        *([f"left     {left}: no longer in their source; `reeldex forget STORE --left` forgets them"] if left else []),
        f"length   {duration(status.seconds_of_video_ok)} of video with features",
        f"speed    {speed:.2f} s of video per second of work",
    ]
    if mixed := mixture(status.ffmpeg_versions):
        lines.append(f"WARNING  {mixed}")
    lines += [f"DAMAGED {file}: `reeldex rerun {path}` extracts it again." for file in status.damaged]
    lines += [f"CANNOT BE READ {each.file}: {each.why}. {each.remedy}" for each in status.unreadable]
    lines += [
        f"features {space}: {counted(rows, 'row')}, {data_size(status.bytes_per_space[space])}"
        for space, rows in sorted(status.rows_per_space.items())
    ]
    return "\n".join(lines)
