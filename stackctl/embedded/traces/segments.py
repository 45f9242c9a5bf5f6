"""What is known of a sealed segment without reading it: its time, its columns, and which values it cannot hold.

Segments never change, so each is looked at once. A question then opens only those that may have an answer.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stackctl.embedded.traces.bloom import BloomFilters, FilterFile, Probe
from stackctl.embedded.traces.pagefile import Places
from stackctl.embedded.traces.pages import SegmentPages, Unfamiliar
from stackctl.embedded.traces.schema import UNREAD
from stackctl.errors import UpstreamFailed

# Columns that are there whatever was stored; where only their times matter they count as one span's start and end.
_START: Final = "start_ns"
_DURATION: Final = "dur_ns"
_FOREVER: Final = 2**63 - 1
# Filters of other numbers hash another form of them than a query writes.
_INTEGER_IDS: Final = frozenset({"tid_hi", "tid_lo", "span_id"})
_PROBES: Final = 256
_NOTED: Final = frozenset({int, str})  # 1.0 and True are 1 to a dictionary


@dataclass(frozen=True)
class ColumnFacts:
    """One column of a segment.

    Attributes:
        low: smallest value, None where it is not known; `high` the largest.
        filters: a bloom filter for each row group with a value, None where there are none.
        groups: numbers of these row groups.
        everywhere: every row has a value.
        values: how many rows have one, at most.
    """

    low: Any
    high: Any
    filters: BloomFilters | None
    groups: Sequence[int] = ()
    everywhere: bool = False
    values: int = _FOREVER


class Part(Protocol):
    """Some of the stored spans: a `Segment`, or a `HotPiece`."""

    @property
    def columns(self) -> Mapping[str, ColumnFacts]:
        """Facts of each column that has a value in some row."""
        ...

    @property
    def rest_keys(self) -> Mapping[str, frozenset[str]]:
        """For `span` and `resource`, the keys inside the JSON of `rest` and `rrest`."""
        ...

    @property
    def tags(self) -> frozenset[str]:
        """Columns with a value on some span that is not the probe's."""
        ...

    @property
    def first_ns(self) -> int:
        """Start of its earliest span, unix nanoseconds."""
        ...

    @property
    def last_ns(self) -> int:
        """Start of its latest span."""
        ...

    @property
    def longest_ns(self) -> int:
        """Duration of its longest span."""
        ...

    def may_hold(self, column: str, values: Sequence[int | str | float | bool]) -> bool:
        """False where a column certainly holds none of some values."""
        ...


@dataclass(frozen=True)
class Segment:
    """One Parquet file of spans.

    Attributes:
        names: every column of the file.
        columns: facts of each column that has a value in some row, and is read.
        places: where their pages are; None where only DuckDB knows.
        rest_keys: for `span` and `resource`, the keys inside the JSON of `rest` and `rrest`.
        has_probe: some span is the readiness probe's.
        tags: columns with a value on some span that is not the probe's.
    """

    path: Path
    names: frozenset[str]
    columns: Mapping[str, ColumnFacts]
    places: Places | None = None
    rest_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    has_probe: bool = False
    tags: frozenset[str] = frozenset()
    _noted: dict[tuple[str, Any], Sequence[int]] = field(default_factory=dict, init=False, compare=False)

    def note(self, column: str, value: int | str, groups: Sequence[int]) -> None:
        """Note the row groups in which a column may have a value: what is asked once is asked again at once."""
        if len(self._noted) >= _PROBES:
            self._noted.clear()
        self._noted[column, value] = groups

    @cached_property
    def singles(self) -> dict[str, Any]:
        """Columns with one value, which rows have or not: what is known need not be read."""
        return {
            name: facts.low
            for name, facts in self.columns.items()
            if isinstance(facts.low, str | int) and facts.low == facts.high
        }

    @cached_property
    def constants(self) -> dict[str, Any]:
        """Those of them that every row has."""
        return {name: value for name, value in self.singles.items() if self.columns[name].everywhere}

    @cached_property
    def first_ns(self) -> int:
        """Start of its earliest span, unix nanoseconds."""
        return self._bound(_START, "low", 0)

    @cached_property
    def last_ns(self) -> int:
        """Start of its latest span."""
        return self._bound(_START, "high", _FOREVER)

    @cached_property
    def longest_ns(self) -> int:
        """Duration of its longest span."""
        return self._bound(_DURATION, "high", _FOREVER)

    def may_hold(self, column: str, values: Sequence[int | str | float | bool]) -> bool:
        """False where a column certainly holds none of some values."""
        return bool(self.groups_with(column, values))

    def groups_with(self, column: str, values: Sequence[int | str | float | bool]) -> Sequence[int]:
        """Return the numbers of the row groups in which a column may hold one of some values."""
        noted = self._noted.get((column, values[0])) if len(values) == 1 else None
        if noted is not None and type(values[0]) in _NOTED:
            return noted
        facts = self.columns.get(column)
        if facts is None:
            return ()
        inside = [value for value in values if _within(facts, value)]
        hashed = [
            value for value in inside if isinstance(value, str) or (type(value) is int and column in _INTEGER_IDS)
        ]
        if not inside or facts.filters is None or len(hashed) < len(inside):
            return facts.groups if inside else ()
        found = facts.filters.which([probe(value) for value in hashed])
        return [facts.groups[number] for number in np.flatnonzero(found).tolist()]

    def rows_of(
        self, groups: Sequence[int], highs: Sequence[int], columns: Iterable[str] | None
    ) -> list[dict[str, Any]]:
        """Return the rows whose trace id has one of some upper halves.

        Args:
            groups: numbers of the row groups that may have them.
            columns: what the rows have, where a value is stored; all if None.

        Raises:
            Unfamiliar: only DuckDB can read them.
        """
        wanted = self.columns if columns is None else columns
        known = {"tid_hi": highs[0]} if len(highs) == 1 else {}
        return self._paged(groups, lambda pages, group: pages.where(group, "tid_hi", highs), wanted, known)

    def rows_with(self, column: str, text: str, columns: Iterable[str]) -> list[dict[str, Any]]:
        """Return the rows in which a column is a text.

        Args:
            columns: what the rows have, where a value is stored.

        Raises:
            Unfamiliar: only DuckDB can read them.
        """
        groups = self.groups_with(column, [text])
        return self._paged(groups, lambda pages, group: pages.where_text(group, column, text), columns, {column: text})

    def _paged(
        self,
        groups: Iterable[int],
        where: Callable[[SegmentPages, int], Sequence[int]],
        columns: Iterable[str],
        looked_for: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Return the rows of some row groups that are found there.

        Args:
            looked_for: values that they all have.
        """
        if self.places is None:
            raise Unfamiliar(f"{self.path.name} has columns of another form")
        wanted = self.columns.keys() & columns
        constants = self.constants | looked_for
        known = {name: constants[name] for name in wanted & constants.keys()}
        rows: list[dict[str, Any]] = []
        with SegmentPages(self.path, self.places) as pages:
            for group in groups:
                places = where(pages, group)
                if places:
                    read = [name for name in wanted - known.keys() if group in self.columns[name].groups]
                    empty = dict.fromkeys(wanted)
                    rows += [empty | known | row for row in pages.rows(group, read, places, self.singles)]
        return rows

    def _bound(self, column: str, which: str, unknown: int) -> int:
        facts = self.columns.get(column)
        value = None if facts is None else getattr(facts, which)
        return unknown if value is None else int(value)


@dataclass(frozen=True)
class Window:
    """Which spans are looked at, by their time; None for no bound.

    Attributes:
        start_ns: unix nanoseconds; spans that end before are left out.
        end_ns: spans that start after are left out.
        by_start: spans count by their start alone, which must be after `start_ns`.
    """

    start_ns: int | None = None
    end_ns: int | None = None
    by_start: bool = False

    def widened(self, by_ns: int) -> "Window":
        """Return this window with some time before and after it."""
        start = None if self.start_ns is None else self.start_ns - by_ns
        return Window(start, None if self.end_ns is None else self.end_ns + by_ns)

    def touches(self, part: Part) -> bool:
        """False where no span of a part is in the window."""
        latest = part.last_ns if self.by_start else part.last_ns + part.longest_ns
        after = self.start_ns is not None and latest < self.start_ns
        return not after and not (self.end_ns is not None and part.first_ns > self.end_ns)

    def holds(self, segment: Segment) -> bool:
        """True where every span of a segment is in the window."""
        after = self.start_ns is None or segment.first_ns > self.start_ns
        return after and (self.end_ns is None or segment.last_ns <= self.end_ns)

    def has(self, start_ns: int, duration_ns: int) -> bool:
        """True for a span in the window."""
        end_ns = start_ns if self.by_start else start_ns + duration_ns
        after = self.start_ns is None or (end_ns > self.start_ns if self.by_start else end_ns >= self.start_ns)
        return after and (self.end_ns is None or start_ns <= self.end_ns)

    def condition(self, longest_ns: int | None) -> str:
        """Return SQL that is true for the spans in the window; `has` says the same.

        Args:
            longest_ns: no span that is asked is longer; None where that is not known.
        """
        found = []
        if self.start_ns is not None and self.by_start:
            found.append(f"start_ns > {self.start_ns}")
        elif self.start_ns is not None:
            found.append(f"start_ns + dur_ns >= {self.start_ns}")
            if longest_ns is not None:
                # Says nothing new, but DuckDB skips row groups by it.
                found.append(f"start_ns >= {self.start_ns - longest_ns}")
        if self.end_ns is not None:
            found.append(f"start_ns <= {self.end_ns}")
        return " AND ".join(found)


class Catalogue:
    """The segments that were looked at, each once. Safe from several threads.

    Args:
        complete: adds to a segment what only reading it tells.
    """

    def __init__(self, complete: Callable[[Segment], Segment] = lambda segment: segment) -> None:
        self._complete = complete
        self._known: dict[Path, Segment] = {}
        self._looking = threading.Lock()

    def learn(self, paths: Iterable[Path]) -> None:
        """Look at the files that are not known yet, beside who asks for others.

        Raises:
            FileNotFoundError: a file is gone.
        """
        for path in paths:
            self._one(path)

    def of(self, paths: Iterable[Path]) -> list[Segment]:
        """Return the segments of these files; others are forgotten.

        Raises:
            FileNotFoundError: a file is gone.
        """
        found = {path: self._one(path) for path in paths}
        self._known = dict(found)
        return list(found.values())

    def _one(self, path: Path) -> Segment:
        known = self._known.get(path)
        if known is not None:
            return known
        with self._looking:  # who comes second waits for what the first one finds
            known = self._known.get(path) or self._complete(read(path))
            self._known[path] = known
            return known


def read(path: Path) -> Segment:
    """Read a segment's footer.

    Raises:
        FileNotFoundError: the file is gone.
        UpstreamFailed: it is damaged.
    """
    file = FilterFile(path)
    try:
        metadata = pq.read_metadata(path)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowInvalid) as error:
        raise UpstreamFailed(
            f"{path.name} is damaged: {error}", next_step="move it out of the data directory; its spans are lost"
        ) from error
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns: dict[str, ColumnFacts] = {}
    for number, name in enumerate(metadata.schema.names):
        facts = _facts(file, [group.column(number) for group in groups])
        if facts is not None and name not in UNREAD:
            columns[name] = facts
    return Segment(path, frozenset(metadata.schema.names), columns, Places.of(metadata))


def _facts(file: FilterFile, chunks: Sequence[Any]) -> ColumnFacts | None:
    """Facts of one column from its chunks' metadata; None where no row has a value."""
    statistics = [chunk.statistics for chunk in chunks]
    pairs = list(enumerate(zip(chunks, statistics, strict=True)))
    filled = {n: (c, s) for n, (c, s) in pairs if s is None or not s.has_null_count or s.null_count < c.num_values}
    everywhere = all(s is not None and s.has_null_count and not s.null_count for s in statistics)
    if not filled:
        return None
    known = all(s is not None and s.has_min_max for _, s in filled.values())
    return ColumnFacts(
        min(s.min for _, s in filled.values()) if known else None,
        max(s.max for _, s in filled.values()) if known else None,
        _filters(file, [c for c, _ in filled.values()]),
        tuple(filled),
        everywhere,
        sum(c.num_values - (s.null_count or 0 if s is not None else 0) for c, s in filled.values()),
    )


def _filters(file: FilterFile, chunks: Sequence[Any]) -> BloomFilters | None:
    if not all(chunk.bloom_filter_offset and chunk.bloom_filter_length for chunk in chunks):
        return None
    return BloomFilters.at(file, [(chunk.bloom_filter_offset, chunk.bloom_filter_length) for chunk in chunks])


@lru_cache(maxsize=_PROBES)
def probe(value: int | str) -> Probe:
    """A value's hash, which is the same for every segment that is asked."""
    return Probe.of(value)


def _within(facts: ColumnFacts, value: Any) -> bool:
    if facts.low is None or isinstance(value, str) != isinstance(facts.low, str):
        return facts.low is None
    return bool(facts.low <= value <= facts.high)
