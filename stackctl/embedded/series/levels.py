"""Samples of one log file in the query process's memory, sorted by series and time, while frames keep coming.

Two sorted levels: a large one that is rarely rebuilt and a small one that takes the newest frames, so that reading a
few fresh frames does not sort everything again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ids: TypeAlias = npt.NDArray[np.int64]
Times: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.intp]

# The small level is merged into the large one when it is larger than this, and than a quarter of that.
_SMALL = 65_536


@dataclass(frozen=True)
class Level:
    """Samples sorted by series, then time."""

    ids: Ids
    times: Times
    values: Floats

    @classmethod
    def of(cls, parts: "Sequence[Level]") -> "Level":
        """Sort parts that each are in the order of time for every series."""
        ids = np.concatenate([part.ids for part in parts])
        order = np.argsort(ids, kind="stable")
        times = np.concatenate([part.times for part in parts])[order]
        values = np.concatenate([part.values for part in parts])[order]
        return cls(ids[order], times, values)

    def bounds(self, ids: Ids) -> tuple[Places, Places]:
        """Return where each series begins and ends."""
        return self.ids.searchsorted(ids, "left"), self.ids.searchsorted(ids, "right")

    def runs(self, ids: Ids) -> Iterator[tuple[int, int, int]]:
        """Yield each of some series that has samples here, with where they begin and end."""
        begin, end = self.bounds(ids)
        there = np.flatnonzero(end > begin)
        yield from zip(ids[there].tolist(), begin[there].tolist(), end[there].tolist(), strict=True)


EMPTY = Level(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


@dataclass
class Levels:
    """The samples of one log file."""

    large: Level = EMPTY
    small: Level = EMPTY
    _fresh: list[Level] = field(default_factory=list)

    def add(self, ids: Ids, times: Times, values: Floats) -> None:
        """Take in a frame."""
        self._fresh.append(Level(ids, times, values))

    def sorted(self) -> list[Level]:
        """Return the levels, older samples of a series first."""
        if self._fresh:
            self.small = Level.of([self.small, *self._fresh])
            self._fresh = []
            if len(self.small.ids) > max(_SMALL, len(self.large.ids) // 4):
                self.large, self.small = Level.of([self.large, self.small]), EMPTY
        return [self.large, self.small]
