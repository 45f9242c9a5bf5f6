"""Applications' own samples on their way into the slots: resets, deltas and sample times.

A sample's time is its arrival, one millisecond later than the series' former sample at the least. A counter's first
sample and the first after a reset follow a zero, where its sender says since when it counts: so that nothing is missed
by `increase(...[...] anchored)`, as Prometheus does with created timestamps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from .family import Family
from .frame import Exemplar, SampleFrame
from .slots import Slots

STALE: Final = float(np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0])
"""The NaN by which Prometheus marks the end of a series (model/value in its source)."""


@dataclass(frozen=True, slots=True)
class Points:
    """One data point of an application.

    Attributes:
        values: one a slot of the family; None where the point has no such value.
        started_ns: since when its sender counts, nanoseconds since 1970; 0 where it does not say.
        delta: the values are what was added since the point before.
        ended: the sender says that there is no value any more.
        exemplars: slot within the family, value and trace id (hex).
    """

    family: Family
    values: Sequence[float | None]
    started_ns: int = 0
    delta: bool = False
    ended: bool = False
    exemplars: Sequence[tuple[int, float, str]] = ()

    @property
    def counts(self) -> bool:
        """Whether the values only grow, but for resets."""
        return self.family.kind in ("counter", "histogram", "summary")


@dataclass
class Arrived:
    """Points that arrived together, worked out against the slots; the slots change at `commit` only.

    Args:
        arrival_ms: unix milliseconds.
    """

    slots: Slots
    arrival_ms: int
    _fresh: list[tuple[int, Family]] = field(default_factory=list)
    _samples: list[tuple[int, int, float]] = field(default_factory=list)  # slot, time, value
    _values: dict[int, float] = field(default_factory=dict)
    _times: dict[int, int] = field(default_factory=dict)
    _starts: dict[int, int] = field(default_factory=dict)
    _exemplars: list[Exemplar] = field(default_factory=list)

    def take(self, points: Points) -> None:
        """Work out one point's samples."""
        first = self.slots.find(points.family)
        if first is None:
            first = self.slots.add(points.family, ours=False)
            self._fresh.append((first, points.family))
        if points.ended:
            for slot in range(first, first + points.family.width):
                self._sample(slot, STALE)
            return
        restarts = points.counts and self._restarts(first, points)
        for slot, value in enumerate(points.values, first):
            if value is None:
                continue
            if restarts:
                self._sample(slot, 0.0)
            self._sample(slot, self._value(slot) + value if points.delta else value)
        if not points.delta:
            self._starts[first] = points.started_ns
        for offset, value, trace_id in points.exemplars:
            self._exemplars.append(Exemplar(first + offset, value, trace_id, self.arrival_ms))

    def _restarts(self, first: int, points: Points) -> bool:
        """Whether a zero comes before: a series begins, or its sender began anew."""
        if not self._time(first + points.family.width - 1):
            return points.delta or points.started_ns > 0
        if points.delta:
            return False
        started = self._starts.get(first, int(self.slots.started_ns[first]))
        fell = any(value is not None and value < self._value(slot) for slot, value in self._monotonic(first, points))
        return fell or (points.started_ns > started > 0)

    def _monotonic(self, first: int, points: Points) -> list[tuple[int, float | None]]:
        """The values that fall at a reset only: of a histogram or summary its count, since a sum may fall."""
        return list(enumerate(points.values, first))[-1:]

    def _value(self, slot: int) -> float:
        return self._values.get(slot, float(self.slots.value[slot]))

    def _time(self, slot: int) -> int:
        return self._times.get(slot, int(self.slots.last_ms[slot]))

    def _sample(self, slot: int, value: float) -> None:
        time_ms = max(self.arrival_ms, self._time(slot) + 1)
        self._samples.append((slot, time_ms, value))
        self._times[slot] = time_ms
        if value == value:  # no staleness marker and no NaN: those leave the number as it was
            self._values[slot] = value

    def frame(
        self, fresh: Sequence[tuple[int, Family]], applied_seq: int, digests: Sequence[tuple[bytes, int]]
    ) -> SampleFrame:
        """Return the frame to store.

        Args:
            fresh: families that earlier, refused frames would have defined.
            applied_seq: as of the last tick; this frame holds no increments.
        """
        slots, times, values = zip(*self._samples, strict=True) if self._samples else ((), (), ())
        return SampleFrame(
            np.array(slots, np.int32),
            np.array(times, np.int64),
            np.array(values, np.float64),
            [*fresh, *self._fresh],
            applied_seq,
            digests,
            self._exemplars,
        )

    @property
    def fresh(self) -> list[tuple[int, Family]]:
        """Families that got their slots here."""
        return self._fresh

    def commit(self) -> None:
        """Change the slots: the frame is on disk."""
        slots = self.slots
        for slot, value in self._values.items():
            slots.changed_ms[slot] = self.arrival_ms
            slots.value[slot] = slots.sampled[slot] = value
        for slot, time_ms in self._times.items():
            slots.last_ms[slot] = time_ms
        for slot, started in self._starts.items():
            slots.started_ns[slot] = started
