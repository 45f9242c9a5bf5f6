"""The live numbers: every series' cumulative value and what a tick must know of it, as growing arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .family import Family, Kind, LabelSet
from .frame import Ints, SampleFrame
from .increments import EXEMPLAR

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

_FIELDS: Final[dict[str, npt.DTypeLike]] = {
    "value": np.float64,  # as counted
    "sampled": np.float64,  # as it was last written
    "last_ms": np.int64,  # time of the last written sample, 0 for none
    "changed_ms": np.int64,  # arrival of the last change
    "pending_ms": np.int64,  # arrival of the first change that is not written yet, 0 for none
    "started_ns": np.int64,  # start time that the sender gave, 0 for none
    "live": np.bool_,  # was in the last full tick
    "ours": np.bool_,  # of the catalogue: sampled at ticks
    "exemplar": EXEMPLAR,  # last observation since the last tick, without a time for none
}


@dataclass
class Slots:
    """Families in adjacent slots, and one number a slot for each field.

    Attributes:
        used: how many slots are taken.
        families: first slot and family, ascending.
    """

    used: int = 0
    families: list[tuple[int, Family]] = field(default_factory=list)
    _arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    _first: dict[tuple[str, Kind, tuple[float, ...]], dict[LabelSet, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._arrays = {name: np.zeros(1024, kind) for name, kind in _FIELDS.items()}

    def __getattr__(self, name: str) -> npt.NDArray[Any]:
        if name not in _FIELDS:
            raise AttributeError(name)
        return self._arrays[name][: self.used]

    def firsts(self, name: str, kind: Kind, bounds: tuple[float, ...]) -> dict[LabelSet, int]:
        """Return the first slot of each label set of one metric."""
        return self._first.setdefault((name, kind, bounds), {})

    def find(self, family: Family) -> int | None:
        """Return the family's first slot, or None."""
        return self.firsts(family.name, family.kind, family.bounds).get(family.labels)

    def add(self, family: Family, ours: bool, slot: int | None = None) -> int:
        """Give a family its slots and return the first.

        Args:
            slot: where a state frame says that it lies; else behind the others.
        """
        first = self.used if slot is None else slot
        self.used = max(self.used, first + family.width)
        self._grow()
        self.families.append((first, family))
        self.firsts(family.name, family.kind, family.bounds)[family.labels] = first
        self._arrays["ours"][first : first + family.width] = ours
        return first

    def _grow(self) -> None:
        size = len(self._arrays["value"])
        if self.used > size:
            more = max(self.used - size, size)
            self._arrays = {
                name: np.concatenate([old, np.zeros(more, old.dtype)]) for name, old in self._arrays.items()
            }

    def without(self, gone: Mask) -> "Slots":
        """Return the families of which no slot is gone, numbered anew without holes."""
        kept = Slots()
        old: list[Rows] = []
        for first, family in self.families:
            if not gone[first]:
                kept.add(family, bool(self.ours[first]))
                old.append(np.arange(first, first + family.width))
        rows = np.concatenate(old) if old else np.zeros(0, np.int64)
        for name in _FIELDS:
            kept._arrays[name][: kept.used] = self._arrays[name][rows]
        return kept

    def state(self, applied_seq: int, digests: Sequence[tuple[bytes, int]]) -> SampleFrame:
        """Return everything as a state frame. Values that are not written yet are not in it."""
        return SampleFrame(
            np.arange(self.used, dtype=np.int32),
            self.last_ms,
            self.sampled,
            self.families,
            applied_seq,
            digests,
            changed=self.changed_ms,
            started=self.started_ns,
            state=True,
        )

    def restore(self, frame: SampleFrame, ours: "frozenset[str]") -> None:
        """Take over what a frame of the log says: families, last values and, from a state frame, the rest."""
        for slot, family in frame.families:
            self.add(family, family.name in ours, slot)
        # The bits of a staleness marker are a NaN: it ends a series, its value stays.
        real = ~np.isnan(frame.values) if not frame.state else np.ones(len(frame.slots), np.bool_)
        slots, values, times = frame.slots[real], frame.values[real], frame.times[real]
        if len(frame.slots):  # slots of families whose frame is damaged stay without one, and are given to no other
            self.used = max(self.used, int(frame.slots.max()) + 1)
            self._grow()
        moved = self.sampled[slots] != values
        self.changed_ms[slots[moved]] = times[moved]
        self.sampled[slots] = self.value[slots] = values
        self.last_ms[frame.slots] = frame.times
        if frame.state:
            self.changed_ms[:], self.started_ns[:] = frame.changed, frame.started


def last_times(times: Ints) -> int:
    """Return the newest time, 0 for none."""
    return int(times.max()) if len(times) else 0
