"""Reports on a run as Markdown and table rows. Sizes are bounded: a store may contain 100,000 videos."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from reeldex.flows.extraction.file_names import printable
from reeldex.flows.extraction.markdown import CELL_CHARACTERS, cell, facts, table
from reeldex.quantities import counted, duration
from reeldex.storage.ffmpeg_versions import mixture
from reeldex.storage.reasons import note_words

if TYPE_CHECKING:
    from reeldex.flows.extraction.run_report import RunReport
    from reeldex.flows.extraction.run_time import RunTime
    from reeldex.storage.schema import VideoOutcome
    from reeldex.storage.verify_report import VerifyReport

MOST_FAILURES_LISTED = 1000
_MOST_SHARDS_LISTED = 50
_SHEET_COLUMNS = 4
_NOTE_NAMES = {False: "Not searched", True: "Equal names"}

# Failure reason -> remedy.
REMEDIES: Mapping[str, str] = {
    "missing": "Restore the file, or remove it from the list; then run extract again.",
    "unreadable": "Check the file's permissions and that it is a video; then rerun-failed with this reason.",
    "no_video_stream": "Nothing: the file contains only audio or images.",
    "decode_error": "Play the file; replace it if it is damaged, then run extract again.",
    "truncated": "Features up to the break are kept. Replace the file if it should be longer.",
    "timeout": "Rerun-failed with this reason and a higher time limit, once its disk or network share responds.",
    "too_large": "Scale the video down, or rerun-failed with a higher limit of frame pixels.",
    "duplicate_id": "Two videos have the same id: give each an id of its own in a list.",
    "internal_error": "A bug in reeldex: report it with the log of the run, then rerun-failed with this reason.",
}

# Note of an outcome -> what to do about it.
NOTE_REMEDIES: Mapping[str, str] = {
    "video_track": "Nothing, if the track is the right one; otherwise save that track as a file of its own.",
    "timestamps_repaired": "Nothing, if times need not be exact; otherwise convert the video again and run extract.",
    "hdr": "Nothing, if colours were mapped to BT.709; otherwise extract with decode.tone_map (--tone-map) into "
    "another store.",
    "long_gaps": "Nothing, if the video is meant to stand still; otherwise replace the file and run extract again.",
    "damaged_rows": "Play the file at these times; replace it if it is damaged, then run extract again.",
    "software_decoding": "Nothing: the CPU decoded the whole video. The message says why the hardware did not.",
}


@dataclass(frozen=True)
class Picture:
    """A picture of a video: its id, the time in seconds, and JPEG bytes."""

    video_id: str
    at_seconds: float
    jpeg: bytes


def summary(report: RunReport) -> str:
    """Return the summary of a run as Markdown."""
    time = report.time
    rows = [
        ("Store", cell(report.store)),
        ("Shards done in this run", f"{report.shards_done:,}"),
        *([("Shards completed by other runs", f"{report.shards_elsewhere:,}")] if report.shards_elsewhere else []),
        ("Shards lost", f"{len(report.shards_lost):,}"),
        *([("Shards left, because the run ended early", f"{report.shards_left:,}")] if report.shards_left else []),
        ("Videos extracted in this run", f"{report.extracted_ok:,} ok, {report.extracted_failed:,} failed"),
        ("Video", f"{duration(report.seconds_of_video)} at {time.speed:,.2f} s of video per second of work"),
        ("Bottleneck", time.remedy),
        *(_time_rows(time) if time.bound else []),
        ("Videos in the source", _found(report)),
        ("In the store but not in the source", f"{report.gone:,}"),
        *((_NOTE_NAMES[note.is_about_ids], cell(str(note))) for note in report.notes),
        ("Truncated, features kept", f"{report.truncated:,}"),
        *((f"Note: {note_words(note)}", f"{count:,}") for note, count in report.noted.items()),
        ("Without features now", f"{report.without_features:,}"),
    ]
    rows += [(f"- {reason}", f"{count:,}") for reason, count in report.failed_by_reason.items()]
    if pending := report.without_features - sum(report.failed_by_reason.values()):
        rows.append(("- not extracted yet", f"{pending:,}"))
    lines = [facts(rows)]
    if mixed := mixture(report.ffmpeg_versions):
        lines += ["", f"**Several versions of ffmpeg.** {mixed}"]
    if report.shards_lost:
        listed = [
            {"shard": f"{shard:05d}", "reason": why}
            for shard, why in list(report.shards_lost.items())[:_MOST_SHARDS_LISTED]
        ]
        if len(report.shards_lost) > len(listed):
            listed.append({"shard": "...", "reason": f"{len(report.shards_lost) - len(listed):,} more"})
        lines += ["", "**Lost shards.** Fix the cause, then press Retry.", "", table(listed)]
    return "\n".join(lines)


def _time_rows(time: RunTime) -> list[tuple[str, str]]:
    return [
        ("Time", f"{duration(time.wall_seconds)} on {counted(time.devices, 'device')}: {time.shares}"),
        ("Video-hours per day and device", f"{time.hours_per_day:,.1f}"),
        *([("Estimate", time.against_estimate)] if time.estimate else []),
    ]


def _found(report: RunReport) -> str:
    return (
        f"{report.new:,} new, {report.changed:,} changed, {report.unchanged:,} unchanged, "
        f"{report.duplicates:,} duplicates, {report.unsettled:,} still being written"
    )


def failure_rows(outcomes: Sequence[VideoOutcome]) -> list[dict[str, str]]:
    """Return a row for each video that failed, was truncated or has notes, at most MOST_FAILURES_LISTED of them."""
    troubled = [each for each in outcomes if each.reason or each.notes]
    return [
        {
            "video": printable(each.path),
            "reason": ", ".join([*filter(None, [each.reason]), *map(note_words, each.notes)]),
            "what to do": _what_to_do(each),
            "what happened": each.message[:CELL_CHARACTERS],
        }
        for each in troubled[:MOST_FAILURES_LISTED]
    ]


def _what_to_do(outcome: VideoOutcome) -> str:
    if outcome.reason:
        return REMEDIES[outcome.reason]
    return " ".join(NOTE_REMEDIES.get(note, f"See the note {note_words(note)!r}.") for note in outcome.notes)


def damage_rows(report: VerifyReport) -> list[dict[str, str]]:
    """Return a row for each damaged or unreadable file, at most MOST_FAILURES_LISTED of them."""
    rows = [
        {"file": each.file, "video": each.video_id or "", "what": each.what, "what to do": each.remedy}
        for each in report.damages
    ]
    rows += [
        {"file": each.file, "video": "", "what": f"cannot be read: {each.why}", "what to do": each.remedy}
        for each in report.unreadable
    ]
    return rows[:MOST_FAILURES_LISTED]


def contact_sheet(pictures: Sequence[Picture]) -> str:
    """Return a table of pictures as Markdown, with the pictures embedded as data URIs."""
    lines = ["| " * _SHEET_COLUMNS + "|", "| --- " * _SHEET_COLUMNS + "|"]
    for start in range(0, len(pictures), _SHEET_COLUMNS):
        row = pictures[start : start + _SHEET_COLUMNS]
        images = [f"![]({_data_uri(each.jpeg)})" for each in row]
        names = [f"{cell(PurePath(each.video_id).name)} {each.at_seconds:.1f} s" for each in row]
        padding = [""] * (_SHEET_COLUMNS - len(row))
        lines += ["| " + " | ".join([*cells, *padding]) + " |" for cells in (images, names)]
    return "\n".join(lines)


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
