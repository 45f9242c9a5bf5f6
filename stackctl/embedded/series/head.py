"""The head: the one writer of samples. Counts increments, ticks, and takes in applications' own metrics.

Counters never fall: each tick stores the newest span-log frame whose increments it holds (`applied_seq`), so a start
goes on from the last values and adds what later frames say. A series' first sample is preceded by its former value
(zero for a new one) one millisecond before the change arrived, so that `increase(...[...] anchored)` sees it too.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from stackctl.embedded.store.digests import MAX_DIGESTS, WINDOW_MS
from stackctl.embedded.store.log import Sync
from stackctl.genai.metrics import BY_NAME

from . import blocks
from .family import Family
from .frame import Exemplar, SampleFrame
from .increments import Increments
from .landing import Landing
from .layout import SeriesLayout
from .log import SampleLog
from .outline import Outline
from .overflow import MOST_SETS, MOST_SLOTS, overflow
from .points import STALE, Arrived, Points
from .slots import Mask, Slots, last_times


@dataclass(frozen=True)
class Pace:
    """When samples are written.

    Attributes:
        full_ms: every live series is sampled so often.
        wanted_ms: what changed is sampled no more often than this while a reader waits.
        live_ms: a catalogue series is sampled so long after its last change.
        keep_ms: a series unchanged for longer is forgotten, its counter with it.
        roll_ms, roll_bytes, roll_samples: age and size at which a log file is closed and becomes a block. The query
            process holds each sample of it in 24 bytes, however few they take on disk.
    """

    full_ms: int = 15_000
    wanted_ms: int = 250
    live_ms: int = 24 * 3_600_000
    keep_ms: int = 7 * 24 * 3_600_000
    roll_ms: int = 2 * 3_600_000
    roll_bytes: int = 64 * 1024**2
    roll_samples: int = 4_000_000

    @classmethod
    def within(cls, roll_ms: int) -> "Pace":
        """Return the usual pace, with files that are closed after so long at the latest."""
        return cls(roll_ms=min(cls.roll_ms, roll_ms))


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Head:
    """Holds every series' value. Safe to call from several threads; one process only (the store's lock says which).

    Start: `Head(data_dir)`, then `apply` each span-log frame newer than `applied_seq`, then `start`. Stop: `close`.

    Args:
        data_dir: the stack's data directory.
        clock_ms: unix milliseconds.
        sync: makes a file's bytes durable.

    Raises:
        StoreUnusable: the directory or the log cannot be used.

    Attributes:
        applied_seq: newest span-log frame that was applied.
        durable_seq: newest span-log frame whose increments are in a synced sample; older frames may go.
        torn_bytes, set_aside: damage found at start, as in `SampleLog`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        pace: Pace | None = None,
        clock_ms: Callable[[], int] = _clock_ms,
        sync: Sync = os.fdatasync,
    ) -> None:
        self.layout = SeriesLayout.below(data_dir)
        self.layout.create()
        self.applied_seq = self.durable_seq = 0
        self._pace = pace or Pace()
        self._clock_ms = clock_ms
        self._lock = threading.RLock()
        self._log = SampleLog(self.layout, sync)
        self._slots = Slots()
        # As long as somebody remembers the outline, and slots have the same numbers.
        self._landings: WeakKeyDictionary[Outline, Landing] = WeakKeyDictionary()
        self._requests: OrderedDict[bytes, int] = OrderedDict()  # digest to arrival
        self._fresh: list[tuple[int, Family]] = []  # families that no frame defines yet
        self._last_tick_ms = 0  # the samples' own time, which never goes back
        self._ticked_ms = self._full_ms = self._rolled_ms = 0  # by the clock
        self._recover()
        self.torn_bytes, self.set_aside = self._log.torn_bytes, self._log.set_aside

    def _recover(self) -> None:
        ours = frozenset(BY_NAME)
        frames = self._log.recover()
        for frame in frames:
            self._slots.restore(frame, ours)
            self._last_tick_ms = max(self._last_tick_ms, last_times(frame.times))
            self.applied_seq = self.durable_seq = max(self.applied_seq, frame.applied_seq)
            self._note(frame.digests)
        if not self._log.number:
            self._log.roll(self._slots.state(self.durable_seq, ()))
        self._rolled_ms = (last_times(frames[0].times) if frames else 0) or self._clock_ms()

    def start(self) -> None:
        """Write what was replayed at the time it arrived, then every live series at its last value."""
        with self._lock:
            pending = last_times(self._slots.changed_ms[self._slots.pending_ms > 0])
            if pending:
                self._tick(pending + 1, full=False)
            self._tick(self._clock_ms(), full=True)

    # --- catalogue series -------------------------------------------------------------------------------------------
    def apply(self, increments: Increments, seq: int) -> None:
        """Add what a span-log frame brought. A frame that was applied before adds nothing.

        Args:
            seq: the frame's sequence number; frames come in ascending order.
        """
        with self._lock:
            if seq <= self.applied_seq:
                return
            if increments:
                self._count(increments)
            self.applied_seq = seq

    def _count(self, increments: Increments) -> None:
        outline = increments.outline
        landing = self._landings.get(outline)
        if landing is None:
            landing = self._landings[outline] = Landing.of(outline, self._firsts(outline))
        slots, rows = self._slots, landing.slots
        values, pending, gained = slots.value, slots.pending_ms, landing.gained(increments.values)
        if landing.alone:
            values[rows] = values.take(rows) + gained
        else:  # several label sets beyond the limit share one series
            np.add.at(values, rows, gained)
        slots.changed_ms[rows] = increments.arrival_ms
        unwritten = rows[pending.take(rows) <= 0]
        if len(unwritten):  # most series have changed since the last tick already
            pending[unwritten] = increments.arrival_ms
        slots.exemplar[rows.take(increments.exemplars["place"])] = increments.exemplars

    def _firsts(self, outline: Outline) -> list[int]:
        """Return the first slot of each row; new label sets get theirs, beyond the limit a shared one."""
        found = []
        for heading in outline.headings:
            known = self._slots.firsts(heading.name, heading.kind, heading.bounds)
            for labels in heading.labels:
                if labels not in known and (len(known) >= MOST_SETS or self.full):
                    labels = overflow(labels)
                if labels not in known:
                    family = Family(heading.name, heading.kind, labels, heading.bounds)
                    self._fresh.append((self._slots.add(family, ours=True), family))
                found.append(known[labels])
        return found

    @property
    def full(self) -> bool:
        """Whether there are as many series as there may be."""
        return self._slots.used >= MOST_SLOTS

    # --- applications' own metrics ----------------------------------------------------------------------------------
    def known(self, digest: bytes) -> bool:
        """Whether a metrics request was stored within the last ten minutes."""
        with self._lock:
            return digest in self._requests

    def _note(self, requests: Iterable[tuple[bytes, int]]) -> None:
        """Remember requests and forget those that are too old or too many."""
        for digest, arrival_ms in requests:
            self._requests[digest] = arrival_ms
            while len(self._requests) > MAX_DIGESTS or next(iter(self._requests.values())) < arrival_ms - WINDOW_MS:
                self._requests.popitem(last=False)

    def admitted(self, points: Sequence[Points]) -> Sequence[Points]:
        """Return the points that `append` takes: where series are as many as there may be, those of known ones."""
        with self._lock:
            room = MOST_SLOTS - self._slots.used
            if sum(one.family.width for one in points) <= room:
                return points
            taken = []
            for one in points:
                if self._slots.find(one.family) is None:
                    if one.family.width > room:
                        continue
                    room -= one.family.width
                taken.append(one)
            return taken

    def append(self, points: Sequence[Points], arrival_ms: int, digests: Sequence[bytes] = ()) -> None:
        """Store applications' samples, synced when this returns.

        Args:
            points: as decoded by `otlp_metrics`; those that are not `admitted` are left out.
            arrival_ms: when their requests arrived, unix milliseconds.
            digests: of the requests, by which a repeated one is known.

        Raises:
            StoreUnusable: the disk refused; nothing is stored and the same request may come again.
        """
        with self._lock:
            arrived = Arrived(self._slots, arrival_ms)
            for one in self.admitted(points):
                arrived.take(one)
            stamped = [(digest, arrival_ms) for digest in digests]
            frame = arrived.frame(self._fresh, self.durable_seq, stamped)
            self._fresh += arrived.fresh  # they have their slots, whether or not the disk takes this frame
            self._log.append(frame)
            arrived.commit()
            self._fresh = []
            self._note(stamped)

    # --- ticks ------------------------------------------------------------------------------------------------------
    def beat(self) -> bool:
        """Do what is due: a tick, or the next log file. To be called every 100 ms or so.

        Returns:
            Whether something was written.

        Raises:
            StoreUnusable: the disk refused; the next beat tries again, nothing counted is lost.
        """
        with self._lock:
            now = self._clock_ms()
            if self._is_full(now):
                self._roll(now)
                return True
            # Absolute: a clock that was set back must not stop the samples.
            if abs(now - self._full_ms) >= self._pace.full_ms:
                return self._tick(now, full=True)
            if abs(now - self._ticked_ms) >= self._pace.wanted_ms and self._wanted():
                return self._tick(now, full=False)
            return False

    def _is_full(self, now_ms: int) -> bool:
        pace, log = self._pace, self._log
        aged = now_ms - self._rolled_ms >= pace.roll_ms
        return aged or log.size >= pace.roll_bytes or log.samples >= pace.roll_samples

    def tick(self) -> None:
        """Write every live series now. Raises as `beat` does."""
        with self._lock:
            self._tick(self._clock_ms(), full=True)

    def close(self) -> None:
        """Write the last tick and close the log."""
        with self._lock:
            self._tick(self._clock_ms(), full=True)
            self._log.close()

    def _wanted(self) -> bool:
        if not (self._slots.pending_ms > 0).any():
            return False
        try:
            touched_ms = self.layout.wanted.stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            return False
        return touched_ms >= self._ticked_ms

    def _tick(self, now_ms: int, full: bool) -> bool:
        """Write a sample of every live series, or of those that changed; False where there was nothing to write."""
        slots = self._slots
        # Room for the former values between this tick and the one before, even when the clock was set back.
        at = max(now_ms, self._last_tick_ms + 2)
        changed = slots.pending_ms > 0
        due = slots.ours & (at - slots.changed_ms <= self._pace.live_ms) if full else changed
        reborn = changed & ~slots.live
        ended = slots.live & ~due if full else np.zeros(slots.used, np.bool_)
        before = np.clip(slots.pending_ms[reborn] - 1, self._last_tick_ms + 1, at - 1)
        ats = np.full(int(due.sum() + ended.sum()), at)
        frame = SampleFrame(
            np.concatenate([np.flatnonzero(reborn), np.flatnonzero(due), np.flatnonzero(ended)]).astype(np.int32),
            np.concatenate([before, ats]),
            np.concatenate([slots.sampled[reborn], slots.value[due], np.full(int(ended.sum()), STALE)]),
            self._fresh,
            self.applied_seq,
            exemplars=self._exemplars(),
        )
        needed = bool(len(frame.slots)) or self.applied_seq != self.durable_seq
        if needed:
            self._log.append(frame)
        self._last_tick_ms, self._ticked_ms = at, now_ms
        if full:
            self._full_ms = now_ms
        self._ticked(frame, due, full)
        return needed

    def _exemplars(self) -> list[Exemplar]:
        """Return those that no tick holds yet."""
        slots = np.flatnonzero(self._slots.exemplar["time_ms"])
        found = self._slots.exemplar[slots]
        halves = zip(found["tid_hi"].view(np.uint64).tolist(), found["tid_lo"].view(np.uint64).tolist(), strict=True)
        traces = [f"{high:016x}{low:016x}" for high, low in halves]
        return list(map(Exemplar, slots.tolist(), found["value"].tolist(), traces, found["time_ms"].tolist()))

    def _ticked(self, frame: SampleFrame, due: Mask, full: bool) -> None:
        """Note that a tick is on disk."""
        slots = self._slots
        slots.sampled[due] = slots.value[due]
        slots.last_ms[frame.slots] = frame.times
        slots.pending_ms[due] = 0
        slots.live[:] = due if full else slots.live | due
        slots.exemplar["time_ms"] = 0
        self._fresh = []
        self.durable_seq = self.applied_seq

    # --- files ------------------------------------------------------------------------------------------------------
    def _roll(self, now_ms: int) -> None:
        """Close the file after a full tick and begin the next one with what is still alive."""
        self._tick(now_ms, full=True)
        idle = now_ms - np.maximum(self._slots.changed_ms, self._slots.last_ms) > self._pace.keep_ms
        kept = self._slots.without(idle) if idle.any() else self._slots
        self._log.roll(kept.state(self.durable_seq, list(self._requests.items())))
        # Only now: while the disk refuses the new file the old one goes on, with the old numbers of the slots.
        if kept is not self._slots:
            self._slots, self._landings = kept, WeakKeyDictionary()
        self._rolled_ms = now_ms

    def seal_closed(self, sealing: Callable[[SeriesLayout, int], object] = blocks.seal) -> None:
        """Make blocks of the log files that are written no more. Works on closed files: may run in a thread of its own.

        Args:
            sealing: makes one; may have it done in another process.

        Raises:
            OSError: the disk refused; called again, it goes on where it stopped.
        """
        for number in self._log.closed():
            sealing(self.layout, number)

    def forget(self, before_ms: int, most_bytes: int) -> None:
        """Remove blocks that are too old, then the oldest of too many; in the thread of `seal_closed`.

        Args:
            before_ms: unix milliseconds.
            most_bytes: of all blocks together.

        Raises:
            OSError: the disk refused.
        """
        blocks.forget(self.layout, before_ms, most_bytes)
