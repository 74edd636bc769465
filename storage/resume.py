"""Pure functions that decide what is left to do for a shard, and how outcomes are merged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from reeldex.storage.schema import VideoEntry, VideoOutcome

NOT_COUNTED = "It was not extracted: a later version replaced it, or it was forgotten with `reeldex forget`."


def needed_spaces(
    entry: VideoEntry,
    previous: VideoOutcome | None,
    wanted: Sequence[str],
    held: Mapping[str, Collection[str]],
    retry: Collection[str],
) -> tuple[str, ...]:
    """Return the wanted spaces in which a video has to be extracted, regardless of staged videos.

    `held` maps each wanted space to the ids with intact rows. A failure is final unless its reason is in
    `retry`; lost rows are needed again in any case. Duplicates are never extracted.
    """
    if entry.duplicate_of is not None:
        return ()
    if previous is None or (previous.status == "ok" and previous.reason in retry):
        return tuple(wanted)
    lacking = tuple(space for space in wanted if entry.video_id not in held[space])
    if previous.status == "ok" or previous.reason in retry:
        return lacking
    return tuple(space for space in lacking if space in previous.rows)


def staged_suffices(staged: VideoOutcome, needed: Collection[str]) -> bool:
    """Return whether a staged video covers the needed spaces: it failed, or has rows in all of them."""
    return staged.status == "failed" or set(needed) <= set(staged.rows)


def merge_outcome(
    entry: VideoEntry,
    previous: VideoOutcome | None,
    staged: VideoOutcome | None,
    rows: Mapping[str, int],
    wanted: Collection[str],
) -> VideoOutcome:
    """Merge the recorded outcome of a video with the newly staged one.

    `rows` counts its rows in the shard from now on. A failed retry keeps an earlier success when all wanted rows
    are still present. Attempts add up when a failed or truncated video is retried; an added space is not a
    second attempt. Raises ValueError when neither outcome is given, unless the entry is a
    duplicate.
    """
    # The first matching row applies; rows are always those held from now on. "Sum": attempts of both if the previous
    # outcome was failed or truncated, else the larger number.
    #
    #   entry      previous   staged                     held from now on            outcome             attempts
    #   duplicate  -          -                          -                           duplicate           -
    #   video      none       none                       -                           ValueError          -
    #   video      one of the two is none                -                           the other one       its own
    #   video      any        ok, only unwanted spaces   -                           previous            its own
    #   video      ok         failed                     all wanted spaces           previous            sum
    #   video      any        failed                     any                         staged              sum
    #   video      truncated  ok                         also spaces of previous     staged, truncated   sum
    #   video      any        ok                         any                         staged              sum
    #
    # The tests have the same rows.
    if entry.duplicate_of is not None:
        return duplicate_outcome(entry)
    if previous is None or staged is None:
        only = staged or previous
        if only is None:
            raise ValueError(f"The video {entry.video_id!r} has no outcome to publish.")
        return replace(only, rows=rows)
    if staged.status == "ok" and not set(staged.rows) & set(wanted):
        # Left by a run that wanted other spaces.
        return replace(previous, rows=rows)
    retried = previous.status == "failed" or previous.truncated
    attempts = previous.attempts + staged.attempts if retried else max(previous.attempts, staged.attempts)
    if staged.status == "failed":
        stands = previous.status == "ok" and set(wanted) <= set(rows)
        return replace(previous if stands else staged, attempts=attempts, rows=rows)
    if previous.status == "ok" and set(rows) - set(staged.rows):
        staged = _with_notes_of(staged, previous)
    if previous.status == "ok" and previous.truncated and set(rows) - set(staged.rows):
        # Some rows are still those of the earlier, truncated extraction.
        return replace(
            staged,
            attempts=attempts,
            rows=rows,
            truncated=True,
            reason="truncated",
            message=staged.message if staged.truncated else previous.message,
        )
    return replace(staged, attempts=attempts, rows=rows)


def _with_notes_of(staged: VideoOutcome, previous: VideoOutcome) -> VideoOutcome:
    """Return the staged outcome, with the notes on rows that are still those of the previous one."""
    added = tuple(note for note in previous.notes if note not in staged.notes)
    if not added:
        return staged
    message = " ".join(filter(None, (staged.message, previous.message)))
    return replace(staged, notes=(*staged.notes, *added), message=message)


def outcome_of_uncounted(entry: VideoEntry, known: VideoOutcome | None, rows: Mapping[str, int]) -> VideoOutcome:
    """Return the outcome of a superseded or forgotten video, which is not extracted.

    `known` is its recorded or staged outcome, if there is one, and `rows` are those that it still has.
    """
    if entry.duplicate_of is not None:
        return duplicate_outcome(entry)
    if known is not None and (rows or known.status == "failed"):
        return replace(known, rows=rows)
    attempts = known.attempts if known is not None else 0
    return VideoOutcome(entry.video_id, entry.path, "failed", "missing", NOT_COUNTED, attempts=attempts)


def duplicate_outcome(entry: VideoEntry) -> VideoOutcome:
    """Return the outcome of a video whose id belongs to another file."""
    return VideoOutcome(
        video_id=entry.video_id,
        path=entry.path,
        status="failed",
        reason="duplicate_id",
        message=(
            f"{entry.path} was not extracted: its id {entry.video_id!r} belongs to {entry.duplicate_of}. Give the ids "
            "explicitly in a list, or use `--video-id path` in a new store, which makes ids of whole relative paths."
        ),
        attempts=0,
    )
