"""The samples of a closed log file, sorted by series a share at a time: all at once would take 80 bytes a sample."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from .frame import Slots
from .levels import Floats, Level, Times

Counts: TypeAlias = npt.NDArray[np.int64]

# Frames of few series are put together, or the shares would be cut out of thousands of them.
_PIECE: Final = 65_536
_SHARE: Final = 262_144  # samples that are sorted at once, if no series has more


class _Piece(NamedTuple):
    """Some samples as they came."""

    slots: Slots
    times: Times
    values: Floats

    def of(self, which: npt.NDArray[np.bool_]) -> "_Piece":
        """Some of them."""
        return _Piece(self.slots[which], self.times[which], self.values[which])


@dataclass
class Samples:
    """Samples in the order in which they came, which for every series is that of time."""

    _pieces: list[_Piece] = field(default_factory=list)
    _small: list[_Piece] = field(default_factory=list)
    _in_small: int = 0

    def add(self, slots: Slots, times: Times, values: Floats) -> None:
        """Take in a frame's."""
        if len(slots):
            self._small.append(_Piece(slots, times, values))
            self._in_small += len(slots)
        if self._in_small >= _PIECE:
            self._put_together()

    def keep(self, known: Collection[int]) -> int:
        """Let go of the samples of series that are not known; return how many these were."""
        self._put_together()
        before = sum(len(piece.slots) for piece in self._pieces)
        table = np.zeros(self._width(), np.bool_)
        slots = np.fromiter(known, np.int64, len(known))
        table[slots[slots < len(table)]] = True
        if not table.all():
            kept = (piece.of(table[piece.slots]) for piece in self._pieces)
            self._pieces = [piece for piece in kept if len(piece.slots)]
        return before - sum(len(piece.slots) for piece in self._pieces)

    def counts(self) -> Counts:
        """Return how many samples each slot has."""
        self._put_together()
        width = self._width()
        counts = np.zeros(width, np.int64)
        for piece in self._pieces:
            counts += np.bincount(piece.slots, minlength=width)
        return counts

    def bounds_ms(self) -> tuple[int, int]:
        """Return the times of the oldest and the newest one; there must be one."""
        self._put_together()
        times = [piece.times for piece in self._pieces]
        return min(int(one.min()) for one in times), max(int(one.max()) for one in times)

    def sorted(self) -> Iterator[Level]:
        """Yield them by series and time, those of some series together."""
        counts = self.counts()
        ends = np.concatenate([[0], counts.cumsum()])
        cuts = np.searchsorted(ends, np.arange(0, ends[-1], _SHARE), "right") - 1
        for low, high in pairwise([*dict.fromkeys(cuts.tolist()), len(counts)]):
            parts = []
            for piece in self._pieces:
                here = piece.of((piece.slots >= low) & (piece.slots < high))
                parts.append(Level(here.slots.astype(np.int64), here.times, here.values))
            yield Level.of(parts)

    def _width(self) -> int:
        """One more than the highest slot."""
        return 1 + max((int(piece.slots.max()) for piece in self._pieces), default=-1)

    def _put_together(self) -> None:
        if self._small:
            slots, times, values = zip(*self._small, strict=True)
            self._pieces.append(_Piece(np.concatenate(slots), np.concatenate(times), np.concatenate(values)))
            self._small, self._in_small = [], 0
