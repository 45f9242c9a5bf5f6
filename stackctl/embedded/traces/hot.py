"""What is known of the spans that no segment holds yet, piece by piece: the same questions as a `Segment` answers.

Pieces never change, so each is looked at once; only those that may have an answer come before DuckDB at all. Decoded,
a span takes ten times the memory that is needed to know where it is: columns that somebody asks for are kept, of the
others no more than marks of ids, and who wants them decodes a frame again.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stackctl import semconv
from stackctl.embedded.store.joining import joined
from stackctl.embedded.store.seal import ID_SUFFIXES, row_groups
from stackctl.embedded.traces.marks import Marks, mark, marks
from stackctl.embedded.traces.schema import REST_COLUMN, SCOPE_PREFIX, UNREAD, sql_type
from stackctl.embedded.traces.segments import ColumnFacts
from stackctl.stack import PROBE_SERVICE

SERVICE: Final = f"{SCOPE_PREFIX['resource']}:{semconv.SERVICE_NAME}:s"
RestKeys = Mapping[str, frozenset[str]]
Column: TypeAlias = "pa.ChunkedArray[Any]"
_TRACE: Final = "tid_hi"
_PROBE: Final = pa.scalar(PROBE_SERVICE, pa.string())
_UNKNOWN: Final = ColumnFacts(None, None, None)
_NO_KEYS: Final[RestKeys] = {scope: frozenset() for scope in REST_COLUMN}
# In one piece, which is not copied again then.
_LARGEST_ROWS: Final = 100_000
# A frame is decoded in a few milliseconds. More of them, and their columns will be asked for again.
_FEW_FRAMES: Final = 4
_WANTED_SECONDS: Final = 60.0


class Frame(Protocol):
    """Neighbouring spans; `stackctl.embedded.store.reader.HotFrame` is one."""

    @property
    def rows(self) -> int:
        """How many."""
        ...

    def table(self) -> pa.Table:
        """Decode them."""
        ...


class Log(Protocol):
    """Frames that become more; `stackctl.embedded.store.reader.HotLog` is one."""

    @property
    def first(self) -> int:
        """By which it is told from others."""
        ...

    @property
    def frames(self) -> Sequence[Frame]:
        """Those that there are now."""
        ...


class Wanted:
    """Columns that questions asked for lately."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}

    def note(self, names: Iterable[str]) -> None:
        """Note a question."""
        self._asked |= dict.fromkeys(names, time.monotonic())

    def names(self) -> frozenset[str]:
        """Return the columns."""
        since = time.monotonic() - _WANTED_SECONDS
        return frozenset(name for name, asked in list(self._asked.items()) if asked >= since)


@dataclass(frozen=True, eq=False)
class HotPiece:
    """Some hot spans.

    Attributes:
        frames: where they are.
        columns: each that has a value in some row, and is read.
        tags: those of them with a value on some span that is not the probe's.
        times: start of the earliest span and of the latest, duration of the longest, in nanoseconds.
        rest_keys: for `span` and `resource`, the keys inside the JSON of `rest` and `rrest`.
        marks: a number for each row: upper halves of trace ids, and marks of texts that are ids.
        wanted: receives what is asked for.
        kept: columns that are in memory; more of them when they were asked for.
    """

    frames: Sequence[Frame]
    columns: Mapping[str, ColumnFacts]
    tags: frozenset[str]
    times: tuple[int, int, int]
    rest_keys: RestKeys
    marks: Mapping[str, Marks]
    wanted: Wanted
    kept: dict[str, Column] = field(default_factory=dict)

    @classmethod
    def of(cls, frames: Sequence[Frame], wanted: Wanted, keys: Callable[[pa.Table], RestKeys]) -> "HotPiece":
        """Look at some frames.

        Args:
            keys: tells the keys in the JSON columns of a table.
        """
        table = joined(frames, lambda frame: frame.table())
        columns = _filled(table) - UNREAD
        ids = (name for name in columns if name.endswith(ID_SUFFIXES) and pa.types.is_string(table[name].type))
        found = {name: marks(table[name]) for name in ids}
        found[_TRACE] = table[_TRACE].to_numpy()
        starts, durations = (table[name].to_numpy() for name in ("start_ns", "dur_ns"))
        probe = SERVICE in columns and bool(pc.any(pc.equal(table[SERVICE], _PROBE)).as_py())
        return cls(
            frames,
            dict.fromkeys(columns, _UNKNOWN),
            _unprobed(table.select(columns)) if probe else frozenset(columns),
            (int(starts.min()), int(starts.max()), int(durations.max())),
            keys(table) if columns & frozenset(REST_COLUMN.values()) else _NO_KEYS,
            found,
            wanted,
            _own(table.select(sorted(columns & wanted.names()))),
        )

    @property
    def rows(self) -> int:
        """How many spans."""
        return len(self.marks[_TRACE])

    @property
    def first_ns(self) -> int:
        """Start of its earliest span, unix nanoseconds."""
        return self.times[0]

    @property
    def last_ns(self) -> int:
        """Start of its latest span."""
        return self.times[1]

    @property
    def longest_ns(self) -> int:
        """Duration of its longest span."""
        return self.times[2]

    def may_hold(self, column: str, values: Sequence[int | str | float | bool]) -> bool:
        """False where a column has none of some values."""
        if column not in self.columns:
            return False
        if column == _TRACE:
            return bool(np.isin(self.marks[column], values).any())
        if sql_type(column) != "VARCHAR":
            return True  # numbers compare across types, which is for the statement to do
        texts = [value for value in values if isinstance(value, str)]
        if column in self.marks:
            return any(bool((self.marks[column] == mark(text)).any()) for text in texts)
        stored = self.table([column])[column]
        return any(pc.any(pc.equal(stored, pa.scalar(text, pa.string()))).as_py() for text in texts)

    def table(self, names: Iterable[str]) -> pa.Table:
        """Return some of its columns; they are kept from now on."""
        there = [name for name in names if name in self.columns]
        self.wanted.note(there)
        missing = [name for name in there if name not in self.kept]
        if missing:
            tables = [_selected(frame.table(), missing) for frame in self.frames]
            self.kept.update(_own(pa.concat_tables(tables, promote_options="default")))
        return pa.table({name: self.kept[name] for name in there})

    def rows_of(self, highs: Sequence[int], columns: Sequence[str] | None) -> list[dict[str, Any]]:
        """Return the rows whose trace id has one of some upper halves; in a fraction of the time DuckDB takes to begin.

        Args:
            columns: what they have; all if None.
        """
        places = _places(self.marks[_TRACE], highs)
        if not len(places):
            return []
        edges = np.cumsum([frame.rows for frame in self.frames])
        numbers = np.unique(np.searchsorted(edges, places, "right")).tolist()
        if columns is not None and (len(numbers) > _FEW_FRAMES or self.kept.keys() >= self.columns.keys() & columns):
            return _rows(self.table(columns), places)
        rows: list[dict[str, Any]] = []
        for number in numbers:
            table = self.frames[number].table()
            chosen = _places(table[_TRACE].to_numpy(), highs)
            rows += _rows(_selected(table, self.columns if columns is None else columns), chosen)
        return rows

    def joined(self, other: "HotPiece") -> "HotPiece":
        """Return this piece and the one behind it as one."""
        columns = {**self.columns, **other.columns}
        first, last, longest = zip(self.times, other.times, strict=True)
        # What only one of them keeps is decoded again when it is asked for again.
        kept = [
            name
            for name in self.kept.keys() | other.kept.keys()
            if all(name in piece.kept or name not in piece.columns for piece in (self, other))
        ]
        tables = [pa.table({name: piece._given(name) for name in kept}) for piece in (self, other)]
        return replace(
            self,
            frames=(*self.frames, *other.frames),
            columns=columns,
            tags=self.tags | other.tags,
            times=(min(first), max(last), max(longest)),
            rest_keys={scope: self.rest_keys[scope] | other.rest_keys[scope] for scope in REST_COLUMN},
            marks={
                name: np.concatenate([piece.marks.get(name, np.zeros(piece.rows, np.int64)) for piece in (self, other)])
                for name in self.marks.keys() | other.marks.keys()
            },
            kept=_own(pa.concat_tables(tables, promote_options="default")) if kept else {},
        )

    def _given(self, name: str) -> "Column | pa.Array[Any]":
        return self.kept[name] if name in self.kept else pa.nulls(self.rows)


class HotCatalogue:
    """The frames that were looked at, in pieces.

    Args:
        rest_keys: tells the keys in the JSON columns of a table.
    """

    def __init__(self, rest_keys: Callable[[pa.Table], RestKeys]) -> None:
        self._rest_keys = rest_keys
        self._wanted = Wanted()
        self._known: dict[int, tuple[Sequence[Frame], list[HotPiece]]] = {}

    def of(self, logs: Iterable[Log]) -> list[HotPiece]:
        """Return the pieces of these logs; others are forgotten."""
        self._known = {log.first: (log.frames, self._of(log)) for log in logs}
        return [piece for _, pieces in self._known.values() for piece in pieces]

    def _of(self, log: Log) -> list[HotPiece]:
        frames, pieces = self._known.get(log.first, ((), []))
        if len(frames) > len(log.frames) or (frames and frames[-1] is not log.frames[len(frames) - 1]):
            frames, pieces = (), []  # another file of this name
        if len(frames) == len(log.frames):
            return pieces
        pieces = list(pieces)
        for few in row_groups(log.frames[len(frames) :]):
            pieces.append(HotPiece.of(few, self._wanted, self._rest_keys))
            # Few pieces, whose rows were copied few times.
            while len(pieces) > 1 and pieces[-2].rows <= min(2 * pieces[-1].rows, _LARGEST_ROWS):
                pieces[-2:] = [pieces[-2].joined(pieces[-1])]
        return pieces


@dataclass(frozen=True, eq=False)
class HotTable:
    """Rows that are kept as a table: evaluations, which are few."""

    table: pa.Table

    def rows_of(self, highs: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return some columns of the rows whose trace id has one of some upper halves."""
        return _rows(_selected(self.table, columns), _places(self.table[_TRACE].to_numpy(), highs))


def _filled(table: pa.Table) -> frozenset[str]:
    rows = table.num_rows
    pairs = zip(table.column_names, table.columns, strict=True)
    return frozenset(name for name, column in pairs if column.null_count < rows)


def _unprobed(table: pa.Table) -> frozenset[str]:
    """Return the columns with a value on a span that is not the probe's."""
    services = table[SERVICE].to_numpy(zero_copy_only=False)
    return _filled(table.filter(services != PROBE_SERVICE))


def _selected(table: pa.Table, names: Collection[str]) -> pa.Table:
    return table.select([name for name in table.column_names if name in names])


def _own(table: pa.Table) -> dict[str, Column]:
    """Return a table's columns, copied: a column of a decoded frame keeps all of the frame in memory."""
    if not table.num_columns:
        return {}
    copied = pa.concat_tables([table, table.slice(0, 0)]).combine_chunks()
    return dict(zip(copied.column_names, copied.columns, strict=True))


def _places(numbers: npt.NDArray[np.int64], wanted: Sequence[int]) -> npt.NDArray[np.intp]:
    return np.flatnonzero(numbers == wanted[0] if len(wanted) == 1 else np.isin(numbers, wanted))


def _rows(table: pa.Table, places: npt.NDArray[np.intp]) -> list[dict[str, Any]]:
    if not len(places):
        return []
    # Spans of a trace mostly stand side by side, and slices cost nothing.
    runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
    return [row for run in runs for row in table.slice(int(run[0]), len(run)).to_pylist()]
