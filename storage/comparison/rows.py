"""Compares the rows of one video: cosine by row, shift, norms, rows without a direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EQUAL_COSINE = 0.9999
"""Rows of at least this cosine are equal up to rounding: it is what half precision keeps."""
NORM_TOLERANCE = 0.01
"""Norms of float16 rows that are equal differ by less."""
_LONGEST_SHIFT = 30
_LEAST_OVERLAP = 3
# A shift is reported if it leaves at most this share of the distance.
_SHIFTED = 0.2
_SAMPLED_ROWS = 16
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class InnerProducts:
    """Sums of the products of two sets of numbers, x and y: x times y, x times x, y times y."""

    xy: float = 0.0
    xx: float = 0.0
    yy: float = 0.0

    @classmethod
    def of(cls, x: Floats, y: Floats) -> InnerProducts:
        """Return the sums for two arrays of one shape."""
        return cls(float((x * y).sum()), float((x * x).sum()), float((y * y).sum()))

    def plus(self, other: InnerProducts) -> InnerProducts:
        """Return the sums of both."""
        return InnerProducts(self.xy + other.xy, self.xx + other.xx, self.yy + other.yy)

    @property
    def slope(self) -> float:
        """The multiple of x that fits y best."""
        return self.xy / self.xx if self.xx > 0 else 0.0

    @property
    def correlation(self) -> float:
        """The cosine of x and y, -1 to 1; its square is the share of y that the slope explains."""
        return self.xy / (self.xx * self.yy) ** 0.5 if self.xx > 0 and self.yy > 0 else 0.0


@dataclass(frozen=True, eq=False)
class RowsComparison:
    """Two arrays of rows of one video.

    Row k of A belongs to row k + `shift` of B. `cosines[i]` is that of row `first_row` + i of A; NaN where a row of
    either has no direction. `overflown` and `zero` count such rows of (A, B): not finite or at the limit of float16,
    and all zeros. `norms` are the median norms of the rows that have one in both. `next_row` and `previous_row` are of
    the steps to neighbouring rows of A (x) and the differences of B from A (y); `steps` of how far neighbouring rows of
    A (x) and of B (y) are from each other. `sample` are some compared rows of A and of B, of norm 1, evenly spread;
    None where it was not kept.
    """

    row_counts: tuple[int, int]
    shift: int
    first_row: int
    cosines: Floats
    identical: bool
    norms: tuple[float, float]
    overflown: tuple[int, int]
    zero: tuple[int, int]
    next_row: InnerProducts
    previous_row: InnerProducts
    steps: InnerProducts
    sample: tuple[Floats, Floats] | None

    @property
    def median(self) -> float:
        """The median cosine; NaN when no two rows could be compared."""
        known = self.cosines[np.isfinite(self.cosines)]
        return float(np.median(known)) if known.size else float("nan")

    @property
    def least_row(self) -> int | None:
        """The row of A with the smallest cosine."""
        return self.first_row + int(np.nanargmin(self.cosines)) if np.isfinite(self.cosines).any() else None

    @property
    def least(self) -> float:
        """The smallest cosine; NaN when no two rows could be compared."""
        return float("nan") if self.least_row is None else float(self.cosines[self.least_row - self.first_row])

    def agrees(self, least_cosine: float) -> bool:
        """Return whether both have the same number of rows, unshifted, of one norm and all of at least this cosine."""
        return (
            self.row_counts[0] == self.row_counts[1]
            and self.shift == 0
            and abs(self.norms[0] - self.norms[1]) <= NORM_TOLERANCE * max(self.norms)
            and bool(np.isfinite(self.cosines).all())
            and self.least >= least_cosine
        )


def compare_rows(rows_a: npt.NDArray[np.floating], rows_b: npt.NDArray[np.floating]) -> RowsComparison:
    """Compare two (R, D) arrays of the same D; raises ValueError when D differs."""
    if rows_a.shape[1] != rows_b.shape[1]:
        raise ValueError(f"Rows of dimension {rows_a.shape[1]} and {rows_b.shape[1]} cannot be compared.")
    units_a, norms_a = _units(rows_a)
    units_b, norms_b = _units(rows_b)
    shift = _shift(units_a, units_b)
    first, stop = _overlap(len(units_a), len(units_b), shift)
    one, other = units_a[first:stop], units_b[first + shift : stop + shift]
    cosines = np.einsum("rd,rd->r", one, other)
    # Two rows of zeros are the same rows.
    lengths = np.stack([norms_a[first:stop], norms_b[first + shift : stop + shift]])
    cosines[(lengths == 0).all(axis=0)] = 1.0
    return RowsComparison(
        row_counts=(len(rows_a), len(rows_b)),
        shift=shift,
        first_row=first,
        cosines=cosines,
        identical=rows_a.dtype == rows_b.dtype and np.array_equal(rows_a, rows_b),
        norms=_medians(lengths),
        overflown=(_overflown(rows_a), _overflown(rows_b)),
        zero=(int((norms_a == 0).sum()), int((norms_b == 0).sum())),
        next_row=_fit(one[:-1], other[:-1], one[1:]),
        previous_row=_fit(one[1:], other[1:], one[:-1]),
        steps=_steps(one, other),
        sample=_sample(one, other),
    )


def _sample(one: Floats, other: Floats) -> tuple[Floats, Floats] | None:
    usable = np.flatnonzero(np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1))
    if not usable.size:
        return None
    chosen = usable[np.unique(np.linspace(0, usable.size - 1, _SAMPLED_ROWS).astype(int))]
    return one[chosen], other[chosen]


def _units(rows: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Return rows of norm 1, NaN for rows without a direction, and the norms."""
    whole = rows.astype(np.float64)
    whole[~np.isfinite(whole).all(axis=1)] = np.nan
    norms: Floats = np.linalg.norm(whole, axis=1)
    return whole / np.where(norms > 0, norms, np.nan)[:, None], norms


def _overflown(rows: npt.NDArray[np.floating]) -> int:
    beyond = ~np.isfinite(rows)
    if rows.dtype == np.float16:
        beyond |= np.abs(rows) >= _LARGEST_FLOAT16
    return int(beyond.any(axis=1).sum())


def _medians(lengths: Floats) -> tuple[float, float]:
    known = lengths[:, np.isfinite(lengths).all(axis=0)]
    if not known.size:
        return float("nan"), float("nan")
    one, other = np.median(known, axis=1)
    return float(one), float(other)


def _overlap(count_a: int, count_b: int, shift: int) -> tuple[int, int]:
    """Return (first, stop) of the rows of A that have a row of B at this shift."""
    return max(0, -shift), max(0, -shift, min(count_a, count_b - shift))


def _shift(units_a: Floats, units_b: Floats) -> int:
    """Return the shift that explains the difference of the rows, 0 if none does."""
    unshifted = _distance(units_a, units_b, 0)
    if unshifted <= 1 - EQUAL_COSINE:
        return 0
    shortest = min(len(units_a), len(units_b))
    needed = max(_LEAST_OVERLAP, (shortest + 1) // 2)
    reach = min(_LONGEST_SHIFT, max(len(units_a), len(units_b)) - needed)
    found = {
        shift: _distance(units_a, units_b, shift)
        for shift in sorted(range(-reach, reach + 1), key=abs)
        if shift and _overlap(len(units_a), len(units_b), shift)[1] - max(0, -shift) >= needed
    }
    best = min(found, key=found.__getitem__, default=0)
    return best if best and found[best] < _SHIFTED * unshifted else 0


def _distance(units_a: Floats, units_b: Floats, shift: int) -> float:
    """Return the mean of 1 - cosine at a shift; infinity when nothing can be compared."""
    first, stop = _overlap(len(units_a), len(units_b), shift)
    cosines = np.einsum("rd,rd->r", units_a[first:stop], units_b[first + shift : stop + shift])
    known = cosines[np.isfinite(cosines)]
    return float(1 - known.mean()) if known.size else float("inf")


def _fit(one: Floats, other: Floats, neighbours: Floats) -> InnerProducts:
    usable = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1) & np.isfinite(neighbours).all(axis=1)
    return InnerProducts.of((neighbours - one)[usable], (other - one)[usable])


def _steps(one: Floats, other: Floats) -> InnerProducts:
    sizes = [np.linalg.norm(np.diff(rows, axis=0), axis=1) for rows in (one, other)]
    usable = np.isfinite(sizes[0]) & np.isfinite(sizes[1])
    if not usable.any():
        return InnerProducts()
    x, y = (each[usable] - each[usable].mean() for each in sizes)
    return InnerProducts.of(x, y)
