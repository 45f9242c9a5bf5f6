"""Exact quantiles of numbers that lie sorted in many places, without bringing them together."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
# Every so many numbers of a place stand for it while the neighbourhood of a rank is looked for.
_STRIDE: Final = 64
_FEW: Final = 4096
# Seconds are nanoseconds by so much, and dollars at most as fine; tokens are whole.
_SCALES: Final = (1e9, 1.0)
_EXACT: Final = 2.0**53  # whole numbers up to here are the same as floats
_FAR: Final = 2**32  # from the number that stands: no four bytes tell it


class Sorted:
    """The numbers of one place, sorted; four bytes each where they are multiples of a scale and neighbours are near.

    Args:
        numbers: them, in any order; NaN is above all others.
    """

    __slots__ = ("_parts", "_rest", "_scale", "stand")

    def __init__(self, numbers: npt.NDArray[Any]) -> None:
        ordered = np.sort(numbers.astype(np.float64))
        self.stand: Numbers = ordered[::_STRIDE].copy()
        self._scale, self._parts = _packed(ordered)
        self._rest: Numbers = ordered[len(self._parts) :].copy()  # what is far above the others mostly, or all

    def __len__(self) -> int:
        """How many numbers."""
        return len(self._parts) + len(self._rest)

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return self._parts.nbytes + self._rest.nbytes + self.stand.nbytes

    def numbers(self, start: int = 0, end: int | None = None) -> Numbers:
        """Return those of some blocks of `_STRIDE`; of all without numbers."""
        first, last = start * _STRIDE, len(self) if end is None else end * _STRIDE
        parts = self._parts[first:last]
        whole = _bases(self.stand[start:end], self._scale, len(parts)) + parts
        packed = len(self._parts)
        return np.concatenate([whole / self._scale, self._rest[max(first - packed, 0) : max(last - packed, 0)]])

    def between(self, low: float, high: float) -> tuple[int, Numbers]:
        """Return how many numbers are below the lower of two, and those from it to the higher one, both included."""
        start = max(int(self.stand.searchsorted(low, "left")) - 1, 0)
        near = self.numbers(start, int(self.stand.searchsorted(high, "right")))
        first, last = near.searchsorted(low, "left"), near.searchsorted(high, "right")
        return start * _STRIDE + int(first), near[first:last]


def _packed(numbers: Numbers) -> tuple[float, npt.NDArray[np.uint32]]:
    """Return a scale, and of the first blocks of numbers how many of its parts each is above the one that stands."""
    for scale in _SCALES if len(numbers) > _STRIDE else ():
        if not (numbers[0] * scale > -_EXACT and numbers[-1] * scale < _EXACT):
            continue
        whole = np.rint(numbers * scale)
        parts = whole - _bases(numbers[::_STRIDE], scale, len(numbers))
        far = np.flatnonzero(parts >= _FAR)
        near = len(numbers) if not len(far) else int(far[0]) // _STRIDE * _STRIDE
        if near and (whole[:near] / scale == numbers[:near]).all():
            return scale, parts[:near].astype(np.uint32)
    return 1.0, np.zeros(0, np.uint32)


def _bases(stand: Numbers, scale: float, count: int) -> Numbers:
    """Return the number that stands for each of some, in parts of a scale."""
    return np.repeat(np.rint(stand * scale), _STRIDE)[:count]


def quantile(places: Sequence[Sorted], q: float) -> float:
    """Return a quantile, interpolated between neighbours as SQL's `percentile_cont` does.

    Args:
        places: numbers, at least one in all.
        q: between 0 and 1.
    """
    position = (sum(map(len, places)) - 1) * q
    rank = int(position)
    below, above = _neighbours(places, rank)
    return below if position == rank else below + (above - below) * (position - rank)


def _neighbours(places: Sequence[Sorted], rank: int) -> tuple[float, float]:
    """Return the number of a rank among all, 0 for the smallest, and the next one; the largest twice."""
    if sum(map(len, places)) > _FEW:
        low, high = _around(places, rank)
        cuts = [place.between(low, high) for place in places]
        rank -= sum(below for below, _ in cuts)
        near = np.concatenate([numbers for _, numbers in cuts])
    else:
        near = np.concatenate([place.numbers() for place in places])
    after = min(rank + 1, len(near) - 1)
    ranked = np.partition(near, [rank, after])
    return float(ranked[rank]), float(ranked[after])


def _around(places: Sequence[Sorted], rank: int) -> tuple[float, float]:
    """Return numbers between which the one of a rank lies and the next one, all included.

    Of the numbers below the j-th of all that stand for their place there are at most j strides; of those up to it at
    least j + 1 less one for each place.
    """
    stand = np.sort(np.concatenate([place.stand for place in places]))
    above = (rank + 1) // _STRIDE + len(places)
    return stand[min(rank // _STRIDE, len(stand) - 1)], stand[above] if above < len(stand) else np.nan  # sorts last
