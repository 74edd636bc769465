"""`reeldex compare`: the features of two stores, or of a store and published .npy files."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reeldex.cli.command import Output, PathOrStore, command
from reeldex.errors import UsageError
from reeldex.quantities import counted

if TYPE_CHECKING:
    from reeldex.storage.comparison.compare import Comparison, SpaceComparison, VideoComparison

_SHOWN = 10


@command(
    "compare",
    details="A and B are each a store, a folder as `reeldex export` writes it (<space>/<video id>.npy), or one folder "
    "of .npy files. Videos are matched by id, else by file name without folders and extension. The cosine of each "
    "video and row, shifted rows, missing videos and the likely cause of differences are reported; --json lists every "
    "row.\n\n"
    "Exit status: 0 the same videos and rows, up to rounding; 1 they differ; 2 wrong usage.",
    example="reeldex compare ~/features ~/published/2d --space resnet152.imagenet1k_v1",
)
def compare(
    a: Annotated[PathOrStore, Parameter(help="A store or its URL, or a folder of .npy files.")],
    b: Annotated[PathOrStore, Parameter(help="What to compare it with.")],
    /,
    *,
    space: Annotated[
        str | None, Parameter(metavar="NAME", help="Only this feature space; needed if B is one of several.")
    ] = None,
    least_cosine: Annotated[float, Parameter(metavar="X", help="Rows from this cosine on are the same.")] = 0.9999,
    output: Output,
) -> int:
    """Compare features: cosine per video and row, shifted rows, missing videos, likely cause."""
    from reeldex.storage.comparison.compare import compare_features

    if not -1 <= least_cosine <= 1:
        raise UsageError(f"--least-cosine {least_cosine}: a cosine is between -1 and 1.")
    found = compare_features(a, b, space, least_cosine=least_cosine)
    same = found.agrees(least_cosine)
    answer = {"same": same, **_answer(found, least_cosine)}
    lines = [line for each in found.spaces for line in _describe(each, least_cosine)]
    lines += [f"only in A: the feature space {name}" for name in found.only_in_a]
    lines += [f"only in B: the feature space {name}" for name in found.only_in_b]
    output.respond(answer, "\n".join([*lines, "A and B are the same." if same else "A and B differ."]))
    return 0 if same else 1


def _describe(found: SpaceComparison, least_cosine: float) -> list[str]:
    names = [name or "unnamed" for name in found.spaces]
    title = names[0] if names[0] == names[1] else f"{names[0]} (A), {names[1]} (B)"
    differing = found.differing(least_cosine)
    equal = sum(each.rows is not None and each.rows.identical for each in found.videos)
    both, only_in_a, only_in_b = counted(len(found.videos), "video"), len(found.only_in_a), len(found.only_in_b)
    rounded = len(found.videos) - len(differing) - equal
    lines = [
        f"{title}: {both} in both, {only_in_a:,} only in A, {only_in_b:,} only in B",
        f"  {equal:,} identical, {rounded:,} equal up to rounding (cosine {least_cosine:g}), {len(differing):,} differ",
    ]
    for side, ids in (("A", found.only_in_a), ("B", found.only_in_b)):
        if ids:
            more = f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
            lines.append(f"  only in {side}: {', '.join(map(repr, ids[:_SHOWN]))}{more}")
    lines += [f"  {_describe_video(each)}" for each in differing[:_SHOWN]]
    if len(differing) > _SHOWN:
        lines.append(f"  ... and {len(differing) - _SHOWN:,} more (--json lists them)")
    lines += [f"  recorded {each}" for each in found.recorded]
    lines += [f"  likely cause: {each.kind} ({counted(each.videos, 'video')}). {each.text}" for each in found.causes]
    return lines


def _describe_video(video: VideoComparison) -> str:
    name = repr(video.video_id) if video.video_id == video.other_id else f"{video.video_id!r} ({video.other_id!r} in B)"
    rows = video.rows
    if rows is None:
        return f"{name}: not compared: {video.problem}"
    counts = counted(rows.row_counts[0], "row")
    if rows.row_counts[0] != rows.row_counts[1]:
        counts += f" in A, {rows.row_counts[1]:,} in B"
    parts = [counts]
    if rows.shift:
        seconds = f" ({rows.shift * video.seconds_per_row:+g} s)" if video.seconds_per_row else ""
        parts.append(f"shifted by {rows.shift:+d} rows{seconds}")
    if rows.least_row is None:
        return f"{name}: {', '.join(parts)}, no row has a direction in both"
    at = f" ({rows.least_row * video.seconds_per_row:g} s)" if video.seconds_per_row else ""
    parts.append(f"cosine median {rows.median:.5f}, least {rows.least:.5f} at row {rows.least_row}{at}")
    return f"{name}: {', '.join(parts)}"


def _answer(found: Comparison, least_cosine: float) -> dict[str, Any]:
    return {
        "only_in_a": found.only_in_a,
        "only_in_b": found.only_in_b,
        "spaces": [
            {
                "space_a": each.spaces[0],
                "space_b": each.spaces[1],
                "same": each.agrees(least_cosine),
                "only_in_a": each.only_in_a,
                "only_in_b": each.only_in_b,
                "recorded": each.recorded,
                "causes": [{"kind": one.kind, "text": one.text, "videos": one.videos} for one in each.causes],
                "videos": [_video_answer(video, least_cosine) for video in each.videos],
            }
            for each in found.spaces
        ],
    }


def _video_answer(video: VideoComparison, least_cosine: float) -> dict[str, Any]:
    answer: dict[str, Any] = {"video_id": video.video_id, "other_id": video.other_id, "problem": video.problem}
    rows = video.rows
    if rows is None:
        return {**answer, "same": False}
    return {
        **answer,
        "same": rows.agrees(least_cosine),
        "identical": rows.identical,
        "rows_a": rows.row_counts[0],
        "rows_b": rows.row_counts[1],
        "shift_rows": rows.shift,
        "shift_seconds": rows.shift * video.seconds_per_row if video.seconds_per_row else None,
        "cosine_median": _number(rows.median),
        "cosine_least": _number(rows.least),
        "least_row": rows.least_row,
        "first_row": rows.first_row,
        "cosines": [_number(each) for each in rows.cosines.tolist()],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
