"""The query process's side of the samples: tails the log, reads blocks, and is a PromQL storage.

Holds what the log files hold in memory (two hours or so) and opens blocks when a query's times reach them. It only ever
reads; the ingest process may append, seal and remove meanwhile.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeAlias, TypeVar

import numpy as np

from stackctl.promql import Matcher, Series
from stackctl.promql.values import Index, Mask

from .blocks import BlockName, blocks
from .frame import MAGIC, SampleFrame, scan
from .index import LabelIndex, Labels, SeriesIds
from .joined import Joiner, Part, Runs, SharedTimes
from .layout import SeriesLayout
from .levels import Floats, Levels, Places, Times
from .stored import GroupCache, StoredBlock

# As many as Prometheus keeps by default (storage.exemplars.max_exemplars).
MAX_EXEMPLARS: Final = 100_000
# Series of blocks that stay open, each one in 40 bytes. A thousand of them for a week are a tenth of it.
OPENED_ROWS: Final = 1_000_000
ALL_TIME: Final = (-(2**62), 2**62)
Chosen: TypeAlias = Callable[[int], None]
P = ParamSpec("P")
T = TypeVar("T")


class FoundExemplar(NamedTuple):
    """One exemplar of a series.

    Attributes:
        series: its number in the index.
    """

    series: int
    time_ms: int
    value: float
    trace_id: str


class FoundExemplars(NamedTuple):
    """The exemplars of one series, oldest first: one element each in all three."""

    times_ms: Sequence[int]
    values: Floats
    trace_ids: Sequence[str]


@dataclass
class _Tail:
    """A log file as far as it was read."""

    offset: int = 0
    levels: Levels = field(default_factory=Levels)
    ids: SeriesIds = field(default_factory=lambda: np.zeros(0, np.int64))  # slot to series number
    first_ms: int = 2**62
    last_ms: int = -(2**62)
    exemplars: deque[FoundExemplar] = field(default_factory=lambda: deque(maxlen=MAX_EXEMPLARS))


@dataclass(frozen=True)
class _Opened:
    """A block whose series are in the index.

    Attributes:
        ids: number of the series of each row.
    """

    block: StoredBlock
    ids: SeriesIds

    @cached_property
    def _order(self) -> Places:
        return np.argsort(self.ids, kind="stable")

    @cached_property
    def _sorted(self) -> SeriesIds:
        return self.ids[self._order]

    def rows(self, ids: SeriesIds) -> Iterator[tuple[int, int]]:
        """Yield each of some series with each of its rows."""
        begin, end = self._sorted.searchsorted(ids, "left"), self._sorted.searchsorted(ids, "right")
        counts = end - begin
        firsts = np.repeat(begin - (np.cumsum(counts) - counts), counts)
        rows = self._order[firsts + np.arange(len(firsts))]
        yield from zip(np.repeat(ids, counts).tolist(), rows.tolist(), strict=True)

    def holds(self, ids: SeriesIds) -> Mask:
        """Say which of some series it holds."""
        return self._sorted.searchsorted(ids, "right") > self._sorted.searchsorted(ids, "left")


def any_number(_: int) -> None:
    """Take any number of series."""


def _again(read: Callable[Concatenate["SampleReader", P], T]) -> Callable[Concatenate["SampleReader", P], T]:
    """Read anew where retention took a block between its listing and its reading."""

    @wraps(read)
    def reading(self: "SampleReader", /, *args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return read(self, *args, **kwargs)
            except FileNotFoundError:
                if not self.changed:
                    raise

    return reading


class SampleReader:
    """All samples of a data directory. Safe to call from several threads.

    Args:
        data_dir: the stack's data directory; `series/` need not be there yet.

    Attributes:
        index: labels of every series met so far.
        kinds: metric name without `_bucket` and the like to its kind.
    """

    def __init__(self, data_dir: Path) -> None:
        self.layout = SeriesLayout.below(data_dir)
        self.index = LabelIndex()
        self.kinds: dict[str, str] = {}
        self._lock = threading.RLock()
        self._tails: dict[int, _Tail] = {}
        self._opened: dict[BlockName, _Opened] = {}
        self._blocks: Sequence[BlockName] = ()
        self._cache = GroupCache()
        self._runs = Runs()

    def touch_wanted(self) -> None:
        """Tell the ingest process that somebody reads: it writes what it counted since its last tick."""
        try:
            os.utime(self.layout.wanted)
        except FileNotFoundError:
            if self.layout.root.is_dir():
                self.layout.wanted.touch(mode=0o600)

    # --- storage ------------------------------------------------------------------------------------------------------
    @_again
    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, chosen: Chosen = any_number
    ) -> list[Series]:
        """Return the series that fulfil all matchers with their samples in [start_ms, end_ms]; none without samples.

        Args:
            chosen: is told how many fulfil the matchers, before any sample is read; what it raises ends the reading.

        Raises:
            QueryInvalid: a regular expression that RE2 does not take.
        """
        with self._lock:
            self._refresh()
            opened = self._open(start_ms, end_ms)
            ids = self.index.match(matchers)
            chosen(len(ids))
            found, falls = self._sealed(opened, ids)
            shared = SharedTimes()
            for tail in self._reaching(start_ms, end_ms):
                for level in tail.levels.sorted():
                    for number, low, high in level.runs(ids):
                        part = (shared.one(level.times[low:high]), level.values[low:high])
                        found.setdefault(number, []).append(part)
        joiner = Joiner(start_ms, end_ms)
        labels = self.index.labels
        series = (joiner.series(labels[number], found[number], falls.get(number)) for number in sorted(found))
        return [one for one in series if len(one.t_ms)]

    @_again
    def series(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, chosen: Chosen = any_number
    ) -> list[Labels]:
        """Return the labels of the series that fulfil all matchers and may have samples in the time asked for.

        Args:
            chosen: as in `select`.
        """
        with self._lock:
            self._refresh()
            opened = self._open(start_ms, end_ms)
            ids = self.index.match(matchers)
            chosen(len(ids))
            there = np.zeros(len(ids), np.bool_)
            for one in opened:
                there |= one.holds(ids)
            for tail in self._reaching(start_ms, end_ms):
                for level in tail.levels.sorted():
                    begin, end = level.bounds(ids)
                    there |= end > begin
            return [self.index.labels[number] for number in ids[there].tolist()]

    @_again
    def exemplars(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> dict[int, FoundExemplars]:
        """Return exemplars in [start_ms, end_ms] by the number of the series that fulfils all matchers."""
        with self._lock:
            self._refresh()
            opened = self._open(start_ms, end_ms)
            wanted = self.index.match(matchers)
            numbers, times, values, trace_ids = [], [], [], list[Any]()
            for one in opened:
                part = one.block.exemplars.of(np.flatnonzero(np.isin(one.ids, wanted)), start_ms, end_ms)
                numbers.append(one.ids[part.rows])
                times.append(part.times)
                values.append(part.values)
                trace_ids += part.trace_ids.to_pylist()
            known = set(wanted.tolist())
            met = (exemplar for tail in self._tails.values() for exemplar in tail.exemplars)
            late = [one for one in met if one.series in known and start_ms <= one.time_ms <= end_ms]
        numbers.append(np.array([one.series for one in late], np.int64))
        times.append(np.array([one.time_ms for one in late], np.int64))
        values.append(np.array([one.value for one in late], np.float64))
        trace_ids += [one.trace_id for one in late]
        return _by_series(np.concatenate(numbers), np.concatenate(times), np.concatenate(values), trace_ids)

    @property
    def changed(self) -> bool:
        """Whether there are other blocks than when they were last listed."""
        return blocks(self.layout) != self._blocks

    # --- keeping up with the ingest process ---------------------------------------------------------------------------
    def _refresh(self) -> None:
        while True:
            # Log files before blocks: a file that is gone by now is a block by now.
            logs = self.layout.logs()
            self._blocks = blocks(self.layout)
            sealed = {block.number for block in self._blocks}
            try:
                for number in logs:
                    if number not in sealed:
                        self._read(number)
                break
            except FileNotFoundError:  # sealed between listing and opening: look again, where its block is by now
                continue
        for number in [number for number in self._tails if number in sealed or number not in logs]:
            del self._tails[number]
        for gone in self._opened.keys() - set(self._blocks):
            del self._opened[gone]

    def _read(self, number: int) -> None:
        """Take in what a log file got since the last time.

        Raises:
            FileNotFoundError: it is gone.
        """
        tail = self._tails.setdefault(number, _Tail())
        path = self.layout.log_file(number)
        if path.stat().st_size == tail.offset:
            return
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < tail.offset:
                # The writer cut a frame back that its disk had refused after we saw it: begin again.
                tail = self._tails[number] = _Tail()
            file.seek(tail.offset)
            data = file.read()
            if not MAGIC.startswith(data[: len(MAGIC)]):  # the same, and the next frame was longer
                tail = self._tails[number] = _Tail()
                data = path.read_bytes()
        base = tail.offset
        for frame, end in scan(data):
            self._take(tail, frame)
            tail.offset = base + end

    def _take(self, tail: _Tail, frame: SampleFrame) -> None:
        for slot, family in frame.families:
            self.kinds[family.name] = family.kind
            numbers = [self.index.number(labels) for labels in family.series()]
            missing = slot + len(numbers) - len(tail.ids)
            if missing > 0:
                tail.ids = np.concatenate([tail.ids, np.full(max(missing, len(tail.ids)), -1)])
            tail.ids[slot : slot + len(numbers)] = numbers
        if frame.state or not len(frame.slots):
            return
        missing = int(frame.slots.max()) + 1 - len(tail.ids)
        if missing > 0:  # the frame that defined them is damaged: nobody knows whose samples these are
            tail.ids = np.concatenate([tail.ids, np.full(missing, -1)])
        known = tail.ids[frame.slots] >= 0
        if not known.any():
            return
        tail.levels.add(tail.ids[frame.slots][known], frame.times[known], frame.values[known])
        tail.first_ms = min(tail.first_ms, int(frame.times.min()))
        tail.last_ms = max(tail.last_ms, int(frame.times.max()))
        tail.exemplars.extend(
            FoundExemplar(int(tail.ids[one.slot]), one.time_ms, one.value, one.trace_id)
            for one in frame.exemplars
            if tail.ids[one.slot] >= 0
        )

    def _reaching(self, start_ms: int, end_ms: int) -> list[_Tail]:
        """The log files with samples in a time, oldest first."""
        tails = (self._tails[number] for number in sorted(self._tails))
        return [tail for tail in tails if tail.first_ms <= end_ms and tail.last_ms >= start_ms]

    def _open(self, start_ms: int, end_ms: int) -> list[_Opened]:
        """The blocks with samples in a time, oldest first, their series in the index."""
        reaching = [block for block in self._blocks if block.first_ms <= end_ms and block.last_ms >= start_ms]
        found = []
        for block in reaching:
            one = self._opened.pop(block) if block in self._opened else self._open_block(block)
            self._opened[block] = one  # behind those that were asked longer ago
            found.append(one)
        spare = sum(len(one.ids) for one in self._opened.values()) - OPENED_ROWS
        for block in list(self._opened)[: len(self._opened) - len(reaching)]:
            if spare > 0:
                spare -= len(self._opened.pop(block).ids)
        return found

    def _sealed(self, opened: Sequence[_Opened], ids: SeriesIds) -> tuple[dict[int, list[Part]], Mapping[int, Index]]:
        """Return by its number what blocks hold of a series, joined, and where that falls, as far as it is known."""
        if not opened:
            return {}, {}
        run = self._runs.of(tuple(one.block.name for one in opened))
        found = {number: [run.parts[number]] for number in ids.tolist() if number in run.parts}
        missing = np.array([number for number in ids.tolist() if number not in found], np.int64)
        if len(missing):
            for number, joined in _joined(opened, missing):
                self._runs.keep(run, number, joined)
                found[number] = [joined]
        return found, run.falls

    def _open_block(self, name: BlockName) -> _Opened:
        block = StoredBlock(self.layout.blocks_dir / name.text, self._cache)
        ids = []
        for one in block.series():
            ids.append(self.index.number(one.labels))
            self.kinds[one.name] = one.kind
        return _Opened(block, np.array(ids, np.int64))


def _joined(opened: Sequence[_Opened], ids: SeriesIds) -> Iterator[tuple[int, Part]]:
    """Yield what blocks hold of some series; nothing for those that they do not hold."""
    fresh: dict[int, list[Part]] = {}
    for one in opened:
        reading = one.block.reading()
        for number, row in one.rows(ids):
            reading.add(row, fresh.setdefault(number, []))
    joiner = Joiner(*ALL_TIME)
    for number, parts in fresh.items():
        yield number, joiner.join(parts)


def _by_series(numbers: SeriesIds, times: Times, values: Floats, trace_ids: Sequence[str]) -> dict[int, FoundExemplars]:
    """Part exemplars by the number of their series; those of one moment stay as they stand."""
    order = np.lexsort((times, numbers))
    numbers, times, values = numbers[order], times[order], values[order]
    found, begin = {}, 0
    for end in [*(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]:
        if end > begin:
            ids = [trace_ids[place] for place in order[begin:end].tolist()]
            found[int(numbers[begin])] = FoundExemplars(times[begin:end].tolist(), values[begin:end], ids)
        begin = end
    return found
