"""Sums as exact as Prometheus': it adds with Kahan's compensation, in Neumaier's form.

Plain sums are used where their rounding error cannot matter, exact ones (`math.fsum`) elsewhere. A compensated and an
exact sum differ by about the square of the machine's precision.
"""

import math

import numpy as np

from stackctl.promql.values import Floats, Mask

# A plain sum of n numbers is off by at most n * 2^-53 * sum|x|; this much of |sum| is still 10 times below 1e-9.
_FEW = 32
"""Up to so many series are added as Prometheus adds them, bit by bit; more would cost too much."""
_ERROR_PER_TERM = 2.0**-53 * 1e10


def uncertain(total: Floats, magnitude: Floats, terms: int) -> Mask:
    """Say which plain sums may be off by more than 1e-10 of their value.

    Args:
        magnitude: sums of the absolute values.
        terms: the largest number of summands.
    """
    doubtful: Mask = np.isfinite(magnitude) & (np.abs(total) < magnitude * (_ERROR_PER_TERM * terms))
    # A finite sum may have overflowed on the way only where the magnitude did.
    return doubtful | (np.isinf(magnitude) & ~np.isnan(total))


def exact(v: Floats) -> float:
    """Return the exact sum, infinite or NaN where IEEE says so."""
    try:
        return math.fsum(v)
    except (OverflowError, ValueError):  # too large for a float; or infinities of both signs
        return float(np.add.reduce(v))


Rows = list[list[int]]
"""Which series each group has."""


def of_groups(v: Floats, ok: Mask, groups: Rows) -> Floats:
    """Return for each group and step the sum over the series present, shape (groups, steps)."""
    total, lost = _group_sums(v, ok, groups)
    return np.where(np.isinf(total), total, total + lost)


def means_of_groups(v: Floats, ok: Mask, groups: Rows) -> Floats:
    """Return for each group and step the mean over the series present; divides first where the sum would overflow."""
    total, lost = _group_sums(v, ok, groups)
    counts = np.maximum([np.add.reduce(ok[rows], axis=0) for rows in groups], 1)
    mean: Floats = total / counts + lost / counts
    for group, step in zip(*np.nonzero(np.isinf(total)), strict=True):
        rows = groups[group]
        values = v[rows, step][ok[rows, step]]
        if np.isfinite(values).all():
            mean[group, step] = exact(values / len(values))
    return mean


def _group_sums(v: Floats, ok: Mask, groups: Rows) -> tuple[Floats, Floats]:
    """Return sums over the groups' series, and what is to be added to them for what rounding took."""
    total, lost = np.zeros((len(groups), v.shape[1])), np.zeros((len(groups), v.shape[1]))
    present = np.where(ok, v, 0.0)
    few = [group for group, rows in enumerate(groups) if len(rows) <= _FEW]
    if few:
        total[few], lost[few] = _compensated(present, [groups[group] for group in few])
    for group, rows in enumerate(groups):
        if len(rows) > _FEW:
            total[group] = _plain(present[rows] if len(rows) < len(v) else present)
    return total, lost


def _compensated(present: Floats, groups: Rows) -> tuple[Floats, Floats]:
    """Add up small groups side by side: the first series of each, then the second of each that has one, and so on."""
    sums = Compensated((len(groups), present.shape[1]))
    for place in range(max(map(len, groups))):
        has = np.array([len(rows) > place for rows in groups])
        sums.add(present[[rows[min(place, len(rows) - 1)] for rows in groups]], None if has.all() else has[:, None])
    return sums.total, sums.lost


def _plain(present: Floats) -> Floats:
    total: Floats = np.add.reduce(present, axis=0)
    doubt = uncertain(total, np.add.reduce(np.abs(present), axis=0), len(present))
    for step in np.flatnonzero(doubt):
        total[step] = exact(present[:, step])
    return total


class Compensated:
    """A running sum of arrays, compensated exactly as Prometheus' util/kahansum does it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.total = np.zeros(shape)
        self.lost = np.zeros(shape)

    def add(self, v: Floats, where: Mask | None = None) -> None:
        """Add one summand to each sum, or only where the mask says."""
        total = self.total + v
        carried = np.where(np.abs(self.total) >= np.abs(v), (self.total - total) + v, (v - total) + self.total)
        lost = np.where(np.isinf(total), 0.0, self.lost + carried)
        if where is None:
            self.total, self.lost = total, lost
        else:
            self.total = np.where(where, total, self.total)
            self.lost = np.where(where, lost, self.lost)

    def value(self) -> Floats:
        """Return the compensated sums."""
        return self.total + self.lost
