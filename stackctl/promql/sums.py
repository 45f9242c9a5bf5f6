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


def over_rows(v: Floats, ok: Mask) -> Floats:
    """Return for each step the sum over the series present, shape (steps,)."""
    total, lost = _row_sums(v, ok)
    return np.where(np.isinf(total), total, total + lost)


def _row_sums(v: Floats, ok: Mask) -> tuple[Floats, Floats]:
    """Return sums over series and what is to be added to them for what rounding took."""
    present = np.where(ok, v, 0.0)
    if len(v) <= _FEW:
        compensated = Compensated((v.shape[1],))
        for row in present:
            compensated.add(row)
        return compensated.total, compensated.lost
    total: Floats = np.add.reduce(present, axis=0)
    doubt = uncertain(total, np.add.reduce(np.abs(present), axis=0), len(v))
    for step in np.flatnonzero(doubt):
        total[step] = exact(present[:, step])
    return total, np.zeros_like(total)


def mean_over_rows(v: Floats, ok: Mask) -> Floats:
    """Return for each step the mean over the series present; divides first where the sum would overflow."""
    counts = np.maximum(ok.sum(axis=0), 1)
    total, lost = _row_sums(v, ok)
    mean: Floats = total / counts + lost / counts
    for step in np.flatnonzero(np.isinf(total)):
        values = v[ok[:, step], step]
        if np.isfinite(values).all():
            mean[step] = exact(values / len(values))
    return mean


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
