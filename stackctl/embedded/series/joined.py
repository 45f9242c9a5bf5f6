"""Samples of a series from several places, joined: what blocks hold of it stays joined while the same blocks are asked.

A dashboard asks for the same series of the same day again and again, of which only the end changes.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from stackctl.promql import Labels, Series
from stackctl.promql.values import Index, falls

from .levels import Floats, Times

KEPT_BYTES: Final = 48 * 1024**2  # two thousand series of a day
_PART_BYTES: Final = 400  # of what Python holds about one, about
_FEW_FALLS: Final = 32
Values: TypeAlias = npt.NDArray[np.float32] | Floats
# Samples of one series from one place: their times, shared with others, and their values.
Part: TypeAlias = tuple[Times, Values]


class SharedTimes:
    """Makes equal arrays of times one array, so that who sees one of them again knows it."""

    def __init__(self) -> None:
        self._known: dict[bytes, Times] = {}

    def one(self, times: Times) -> Times:
        """Return the array that stands for this one; a copy, which keeps nothing else in memory."""
        key = times.tobytes()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = np.frombuffer(key, np.int64)
        return found


def known_falls(values: Values) -> Index | None:
    """Return after which places values fall; None where one of them is NaN, or where they fall often, as gauges do."""
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isnan(np.add.reduce(values)):  # as a sum with one is
            return None
    found = falls(values.astype(np.float64, copy=False))
    return found if len(found) <= _FEW_FALLS else None


@dataclass
class Run:
    """Series as some blocks hold them, joined.

    Attributes:
        parts: by the number of the series.
        falls: of those that have few and are no NaN anywhere, after which places the next value is smaller.
    """

    parts: dict[int, Part] = field(default_factory=dict)
    falls: dict[int, Index] = field(default_factory=dict)
    nbytes: int = 0


class Runs:
    """What was joined of blocks lately.

    Args:
        most_bytes: that it may hold. Blocks that were asked the longest ago go first; what is too much for all of it is
            not kept.
    """

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._most = most_bytes
        self._runs: OrderedDict[Hashable, Run] = OrderedDict()

    def of(self, blocks: Hashable) -> Run:
        """Return what is kept of some blocks."""
        run = self._runs.setdefault(blocks, Run())
        self._runs.move_to_end(blocks)
        return run

    def keep(self, run: Run, number: int, part: Part) -> None:
        """Keep a series in the run that `of` returned last."""
        size = part[1].nbytes + _PART_BYTES
        while sum(one.nbytes for one in self._runs.values()) + size > self._most:
            if len(self._runs) == 1:
                return
            self._runs.popitem(last=False)
        run.parts[number] = part
        known = known_falls(part[1])
        if known is not None:
            run.falls[number] = known
        run.nbytes += size


class Joiner:
    """Joins the parts of series and cuts them to a time; series with the same times share an array of them.

    Args:
        start_ms, end_ms: the time, both ends included.
    """

    def __init__(self, start_ms: int, end_ms: int) -> None:
        self._start, self._end = start_ms, end_ms
        self._met: list[Sequence[Times]] = []  # what lives on keeps its identity to itself
        self._joined: dict[tuple[int, ...], tuple[Times, slice, npt.NDArray[np.int64] | None]] = {}

    def series(self, labels: Labels, parts: Sequence[Part], known: Index | None = None) -> Series:
        """Join the parts of one series as `join` does, to values of 64 bits.

        Args:
            known: after which places the values of the first part fall, where this is known.
        """
        times, values, cut, ordered = self._all(parts)
        cut_values = values[cut].astype(np.float64, copy=False)
        if known is None or not ordered:
            return Series(labels, times, cut_values)
        if len(parts) > 1:
            last = max(len(parts[0][1]) - 1, 0)
            behind = known_falls(values[last:])
            if behind is None:
                return Series(labels, times, cut_values)
            known = np.concatenate([known, behind + last])
        if len(known):
            known = known[known.searchsorted(cut.start) : known.searchsorted(cut.stop - 1)] - cut.start
        return Series(labels, times, cut_values, known)

    def join(self, parts: Sequence[Part]) -> Part:
        """Join the parts of one series, which are in the order of time."""
        times, values, cut, _ = self._all(parts)
        return times, values[cut]

    def _all(self, parts: Sequence[Part]) -> tuple[Times, Values, slice, bool]:
        """Return the times that are wanted, all values, which of these are wanted, and whether they stand as before."""
        key = tuple([id(times) for times, _ in parts])
        known = self._joined.get(key)
        if known is None:
            self._met.append([times for times, _ in parts])
            known = self._joined[key] = self._join_times(self._met[-1])
        times, cut, order = known
        values = parts[0][1] if len(parts) == 1 else np.concatenate([values for _, values in parts])
        return times, values if order is None else values[order], cut, order is None

    def _join_times(self, parts: Sequence[Times]) -> tuple[Times, slice, npt.NDArray[np.int64] | None]:
        times, order = np.concatenate(parts), None
        if (np.diff(times) <= 0).any():  # bucket bounds changed: two families shared this series' labels for a while
            times, order = np.unique(times, return_index=True)
        cut = slice(int(times.searchsorted(self._start, "left")), int(times.searchsorted(self._end, "right")))
        return times[cut], cut, order
