"""Exact quantiles of numbers that lie sorted in many places, without bringing them together."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Sorted: TypeAlias = npt.NDArray[np.float64]
# Every so many numbers of a place stand for it while the neighbourhood of a rank is looked for.
_STRIDE = 64
_FEW = 4096


def quantile(places: Sequence[Sorted], q: float) -> float:
    """Return a quantile, interpolated between neighbours as SQL's `percentile_cont` does.

    Args:
        places: sorted numbers, at least one in all.
        q: between 0 and 1.
    """
    position = (sum(map(len, places)) - 1) * q
    low = int(position)
    below = ranked(places, low)
    if position == low:
        return below
    return below + (ranked(places, low + 1) - below) * (position - low)


def ranked(places: Sequence[Sorted], rank: int) -> float:
    """Return the number of a rank among all: 0 for the smallest."""
    if sum(map(len, places)) > _FEW:
        low, high = _around(places, rank)
        cuts = [(numbers.searchsorted(low, "left"), numbers.searchsorted(high, "right")) for numbers in places]
        rank -= sum(int(start) for start, _ in cuts)
        places = [numbers[start:end] for numbers, (start, end) in zip(places, cuts, strict=True)]
    return float(np.partition(np.concatenate(places), rank)[rank])


def _around(places: Sequence[Sorted], rank: int) -> tuple[float, float]:
    """Return numbers between which the one of a rank lies, both included.

    Of the numbers below the j-th of all that stand for their place there are at most j strides; of those up to it at
    least j + 1 less one for each place.
    """
    stand = np.sort(np.concatenate([numbers[::_STRIDE] for numbers in places]))
    above = rank // _STRIDE + len(places)
    return stand[min(rank // _STRIDE, len(stand) - 1)], stand[above] if above < len(stand) else np.nan  # sorts last
