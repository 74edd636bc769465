"""What the figures of a comparison suggest as its cause; pure, from the features of all videos of a space.

Magnitudes are relative: the squared distance of a row of A and its row of B, over the spread of the rows of A. So the
same limits fit networks whose rows all have nearly one direction and others whose rows have not.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reeldex.quantities import counted
from reeldex.storage.comparison.rows import NORM_TOLERANCE, Floats, InnerProducts, RowsComparison

# Other scaling filters stay below 1 % of the spread; RGB as BGR is at 30 %, another network at 100 % and above.
_DECODING = 0.05
# Correlation of the centred rows: 0.2 to 0.8 for RGB as BGR, 0.0 for other weights.
_SAME_NETWORK = 0.3
# Correlation of the steps from row to row: 0.8 and more for the same pictures, 0.0 for other videos.
_SAME_PICTURES = 0.5
# With fewer rows, steps are correlated by chance.
_FEWEST_ROWS_FOR_STEPS = 20
# Correlation of the mean rows over their dimensions: 0.9 for other videos, 0.0 for other weights.
_SAME_DIMENSIONS = 0.5
# The next or the previous row explains this much of the differences, and much more than the other one.
_NEIGHBOUR_SHARE = 0.02
_NEIGHBOUR_CONTRAST = 5.0
_NORMALISED = NORM_TOLERANCE
_LEAST_SPREAD = 1e-6
# From this share of videos on, a difference is one of the whole extraction.
_MOST = 0.9
_RATE_TOLERANCE = 0.02
_FEWEST_VIDEOS_FOR_RATE = 2


@dataclass(frozen=True)
class Cause:
    """A likely cause: its kind, what was found, and the number of videos concerned."""

    kind: str
    text: str
    videos: int


def likely_causes(videos: Sequence[RowsComparison], least_cosine: float) -> tuple[Cause, ...]:
    """Return the likely causes of the differences, those that hide others first."""
    found = [*_without_direction(videos), *_norms(videos, least_cosine)]
    if (rate := _rate(videos, least_cosine)) is not None:
        return (*found, rate)
    found += [*_shifts(videos), *_row_counts(videos)]
    differing = [each for each in videos if np.isfinite(each.cosines).any() and each.least < least_cosine]
    if differing:
        found.append(_directions(videos, differing))
    elif rounded := [each for each in videos if not each.identical and each.least < 1 - 1e-7]:
        text = (
            f"Rows differ by rounding only (least cosine {min(each.least for each in rounded):.6f}): another device, "
            "runtime or precision."
        )
        found.append(Cause("rounding", text, len(rounded)))
    return tuple(found)


def _without_direction(videos: Sequence[RowsComparison]) -> list[Cause]:
    found = []
    for side, name in enumerate("AB"):
        if rows := sum(each.overflown[side] for each in videos):
            text = (
                f"{counted(rows, 'row')} of {name} are infinite, NaN or at the largest float16 (65504): the values "
                "overflowed float16 before they were normalised or stored."
            )
            found.append(Cause("float16 overflow", text, sum(each.overflown[side] > 0 for each in videos)))
        only = [each for each in videos if each.zero[side] > each.zero[1 - side]]
        if only:
            text = f"{counted(sum(each.zero[side] for each in only), 'row')} of {name} are all zeros: never computed, "
            found.append(Cause("rows of zeros", text + "or too small for float16.", len(only)))
    return found


def _norms(videos: Sequence[RowsComparison], least_cosine: float) -> list[Cause]:
    known = [each for each in videos if np.isfinite(each.norms).all() and min(each.norms) > 0]
    if not known:
        return []
    norms = np.array([each.norms for each in known])
    one, other = (np.abs(norms[:, side] - 1) <= _NORMALISED for side in (0, 1))
    unlike = one != other
    if unlike.any():
        side = 1 if one[unlike][0] else 0
        text = (
            f"Rows of {'AB'[side]} are not L2-normalised (median norm {np.median(norms[unlike][:, side]):.4g}), those "
            f"of {'AB'[1 - side]} are. Cosines do not depend on it; pooled vectors of several rows do."
        )
        return [Cause("normalised or not", text, int(unlike.sum()))]
    ratios = norms[:, 1] / norms[:, 0]
    same_directions = np.array([each.least >= least_cosine for each in known])
    if (scaled := same_directions & (np.abs(ratios - 1) > _NORMALISED)).any():
        text = f"Rows of B are {np.median(ratios[scaled]):.4g} times as long as those of A: another scale."
        return [Cause("another scale", text, int(scaled.sum()))]
    return []


def _rate(videos: Sequence[RowsComparison], least_cosine: float) -> Cause | None:
    """Return the cause if the numbers of rows are those of another rate in nearly all videos."""
    unlike = [
        each.row_counts
        for each in videos
        if abs(each.row_counts[0] - each.row_counts[1]) > 1 and not each.least >= least_cosine
    ]
    if len(unlike) < max(_FEWEST_VIDEOS_FOR_RATE, _MOST * len(videos)):
        return None
    ratios = np.array([count_b / count_a for count_a, count_b in unlike])
    middle = float(np.median(ratios))
    # A count is a duration times a rate, rounded: up to 1 row more or less.
    slack = np.array([1 / min(counts) for counts in unlike])
    if abs(middle - 1) <= _RATE_TOLERANCE or (np.abs(ratios / middle - 1) > slack + _RATE_TOLERANCE).any():
        return None
    text = f"B has {middle:.4g} rows per row of A: another sampling rate or clip length. Rows cannot be compared."
    return Cause("another rate of rows", text, len(unlike))


def _shifts(videos: Sequence[RowsComparison]) -> list[Cause]:
    shifted = [each for each in videos if each.shift]
    if not shifted:
        return []
    shifts = sorted({each.shift for each in shifted})
    named = f"{shifts[0]:+d}" if len(shifts) == 1 else f"{shifts[0]:+d} to {shifts[-1]:+d}"
    direction = "later" if shifts[0] > 0 else "earlier" if shifts[-1] < 0 else "earlier or later"
    text = (
        f"Rows of B are {direction} than those of A by whole rows ({named}): frames dropped or repeated at the "
        "start, or another zero of time."
    )
    return [Cause("row shift", text, len(shifted))]


def _row_counts(videos: Sequence[RowsComparison]) -> list[Cause]:
    found = []
    for side, name in enumerate("AB"):
        shorter = [
            each.row_counts[1 - side] - each.row_counts[side]
            for each in videos
            if each.row_counts[side] < each.row_counts[1 - side] and not each.shift
        ]
        if shorter:
            named = "1 row" if max(shorter) == 1 else f"1 to {max(shorter)} rows"
            text = (
                f"{name} lacks {named} at the end: a truncated file, another rule for the last incomplete clip, or "
                "another duration."
            )
            found.append(Cause("rows missing at the end", text, len(shorter)))
    return found


def _directions(videos: Sequence[RowsComparison], differing: Sequence[RowsComparison]) -> Cause:
    """Return the cause of the differences in direction, which is one for all videos that differ."""
    figures = _Figures.of(videos, differing)
    kind, text = _kind(figures, _neighbour(differing), everywhere=len(differing) >= _MOST * len(videos))
    measured = (
        f"median cosine {figures.cosine:.4f}, differences {figures.relative:.2g} of the spread of the rows of A, "
        f"correlation of rows {figures.correlation:.2f}, of mean rows {figures.mean_correlation:.2f}, of steps "
        f"between rows {figures.steps:.2f}"
    )
    return Cause(kind, f"{text} ({measured}).", len(differing))


def _kind(figures: _Figures, neighbour: tuple[float, str] | None, *, everywhere: bool) -> tuple[str, str]:
    same_pictures = figures.correlation >= _SAME_NETWORK or figures.steps >= _SAME_PICTURES
    if everywhere and figures.mean_correlation < _SAME_DIMENSIONS:
        videos = "The same videos" if figures.steps >= _SAME_PICTURES else "These or other videos"
        return "other weights", f"{videos} through another network or other weights"
    if neighbour is not None and figures.correlation >= _SAME_NETWORK:
        fraction, where = neighbour
        text = f"Rows of B are {where} than those of A by a fraction of a row (about {fraction:.2f})"
        return "frame shift", f"{text}: frames are taken at other times"
    if figures.relative <= _DECODING:
        return "another decoding", "Other decoding or scaling of the pictures, such as another ffmpeg"
    if same_pictures:
        text = "The same network on other pictures: BGR instead of RGB, another mean and standard deviation, or a crop"
        return "other preprocessing, such as BGR instead of RGB", text
    return "other videos under the same ids", "The same network on other videos, or on other versions of their files"


def _neighbour(videos: Sequence[RowsComparison]) -> tuple[float, str] | None:
    """Return the fraction of a row and the direction, if one neighbour explains the differences."""
    later = _sum([each.next_row for each in videos])
    earlier = _sum([each.previous_row for each in videos])
    fits = sorted(
        [(later.correlation**2, "later", later), (earlier.correlation**2, "earlier", earlier)], key=lambda fit: fit[0]
    )
    (other, _, _), (share, where, fit) = fits
    if share < _NEIGHBOUR_SHARE or share < _NEIGHBOUR_CONTRAST * other or not 0 < fit.slope <= 1:
        return None
    return fit.slope, where


def _sum(products: Sequence[InnerProducts]) -> InnerProducts:
    return functools.reduce(InnerProducts.plus, products, InnerProducts())


@dataclass(frozen=True)
class _Figures:
    """Figures of the rows that differ, centred at the means of all rows; `steps` is 0 for too few rows."""

    cosine: float
    relative: float
    correlation: float
    mean_correlation: float
    steps: float

    @classmethod
    def of(cls, videos: Sequence[RowsComparison], differing: Sequence[RowsComparison]) -> _Figures:
        every_a, every_b = _sample(videos)
        one, other = _sample(differing)
        mean_a, mean_b = every_a.mean(axis=0), every_b.mean(axis=0)
        spread = float(((every_a - mean_a) ** 2).sum(axis=1).mean())
        cosines = np.concatenate([each.cosines for each in differing])
        steps = _sum([each.steps for each in differing]).correlation
        return cls(
            cosine=float(np.nanmedian(cosines)),
            relative=float(((one - other) ** 2).sum(axis=1).mean() / 2 / max(spread, _LEAST_SPREAD)),
            correlation=InnerProducts.of(one - mean_a, other - mean_b).correlation,
            mean_correlation=InnerProducts.of(
                one.mean(axis=0) - one.mean(), other.mean(axis=0) - other.mean()
            ).correlation,
            steps=steps if cosines.size >= _FEWEST_ROWS_FOR_STEPS else 0.0,
        )


def _sample(videos: Sequence[RowsComparison]) -> tuple[Floats, Floats]:
    kept = [each.sample for each in videos if each.sample is not None]
    return np.concatenate([one for one, _ in kept]), np.concatenate([other for _, other in kept])
