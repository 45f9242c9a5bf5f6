"""A batch of spans (or evaluation records) as named Arrow columns, and the reading of sources from it."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.arrays import Arrays, Coded, spread
from stackctl.genai.rows import (
    Duration,
    EventAttr,
    EventTime,
    Field,
    One,
    ResourceAttr,
    Source,
    SpanAttr,
    ValueType,
    When,
)

from .arrow import EMPTY, NULLS, Column, pc
from .events import FirstEvents
from .kinds import alike, alike_numbers, coded
from .looks import Look, look
from .rest import Rest
from .views import Floats, Numbers, Truth, numbers, valid

_VALUE_TYPES: tuple[ValueType, ...] = ("s", "i", "d", "b")
_TEXT = pa.string()
_KINDS: dict[str, ValueType] = {kind: kind for kind in _VALUE_TYPES}


class Batch:
    """Columns by name, as the SpanTable contract spells them, changed in place while the rows run over them.

    Args:
        rows: a table, or its columns.

    Attributes:
        rows: how many spans.
        columns: name to array; each array is contiguous and as long as the batch.
        memo: conditions that were already judged, by identity since their own hashes are slow to make, each kept alive
            by its entry; emptied whenever a column changes that was read.
        in_scope: the same of patterns of instrumentation scopes, emptied when those change.
    """

    def __init__(self, rows: pa.Table | Arrays) -> None:
        arrays = rows if isinstance(rows, Arrays) else Arrays.of(rows)
        self.rows = arrays.rows
        self.columns: dict[str, Column] = dict(arrays.columns)
        self.memo: dict[int, tuple[When, Truth]] = {}
        self.in_scope: dict[str, Truth] = {}
        # What conditions may have been judged by: keys of attributes, and the names of other columns.
        self._asked: set[str] = set()
        # Which span attributes have columns: most rows of most dialects find nothing here and are done.
        self._kinds: dict[str, list[ValueType]] = {}
        for name in self.columns:
            self._note(name)
        # The columns in which an attribute has values, by prefix and key: most are asked for again and again.
        self._found: dict[str, list[Column]] = {}
        # What was seen of columns, each kept alive by its entry, and so its identity its own.
        known = [(self.columns[name], found) for name, found in arrays.known.items()]
        self._coded = {id(column): (column, found) for column, found in known}
        texts = [column for column in self.columns.values() if self._is_unknown_text(column)]
        self._looks = {id(column): (column, seen) for column, seen in zip(texts, look(texts), strict=True)}
        self._numbers: dict[int, tuple[Column, Numbers]] = {}
        self._floats: dict[int, tuple[Column, Floats]] = {}
        self._durations: tuple[Column, Column] | None = None
        # What was read of the columns of JSON, with the column that it was read of.
        self._events: tuple[Column | None, FirstEvents] | None = None
        self._rest: dict[str, tuple[Column, Rest]] = {}
        self._unplaced: dict[str, tuple[Rest, Column]] = {}

    def table(self) -> pa.Table:
        """Return the columns as a table, in the order in which they came or were made."""
        return pa.table(self.columns)

    def put(self, name: str, column: Column) -> None:
        """Set a column; an attribute's is dropped where it holds nothing but nulls."""
        if column.null_count == self.rows and ":" in name:
            self.drop(name)
            return
        if self.columns.get(name) is column:
            return
        self._forget(name)
        if name not in self.columns:
            self._note(name)
        self.columns[name] = column

    def drop(self, name: str) -> None:
        """Remove a column if it is there."""
        if self.columns.pop(name, None) is not None:
            self._forget(name)
            if name.startswith("s:"):
                self._kinds[name[2:-2]].remove(_KINDS[name[-1]])

    def _forget(self, name: str) -> None:
        """Judge again what was judged by a column that changes."""
        self._found.pop(name[:-2], None)
        if name == "scope":
            self.in_scope.clear()
        if name == "rest":  # keys are taken out of it, and none is ever put in
            self._found.clear()
            rest = self.rest()
            known = rest is None or self._asked.isdisjoint(rest.keys)
        else:
            known = (name[2:-2] if ":" in name else name) not in self._asked
        if not known:
            self.memo.clear()

    def span(self, key: str, kind: ValueType) -> Column | None:
        """Return the span attribute's column of one type, or None."""
        return self.columns.get(f"s:{key}:{kind}")

    def spans(self, key: str) -> Iterator[tuple[ValueType, Column]]:
        """Yield the span attribute's columns in the types that it has."""
        for kind in self._kinds.get(key, ()):
            yield kind, self.columns[f"s:{key}:{kind}"]

    def has(self, key: str) -> bool:
        """Whether any span has the attribute, in a column or without one."""
        return bool(self._kinds.get(key)) or ((rest := self.rest()) is not None and rest.has(key))

    def keys(self) -> frozenset[str]:
        """Return the keys of all span attributes, in columns or without one."""
        rest = self.rest()
        return frozenset(self._kinds) if rest is None else rest.keys.union(self._kinds)

    def read(self, source: Source) -> list[Column]:
        """Return the columns in which a source has values, none where it has no value in the whole batch.

        A list, since one key may have come in several types.
        """
        match source:
            case SpanAttr(key):
                self._asked.add(key)
                return self._attribute("s:", key, self._kinds.get(key, ()))
            case ResourceAttr(key):
                self._asked.add(key)
                return self._attribute("r:", key, _VALUE_TYPES)
            case Field(name):
                self._asked.add(name)
                return [self.columns[name]] if name in self.columns else []
            case Duration():
                self._asked.add("dur_ns")
                return [self.durations()]
            case One():
                return [pa.array(np.ones(self.rows))]
            case EventTime(event):
                self._asked.add("events")
                times = self._first_events().times(event)
                return [] if times is None else [times]
            case EventAttr(event, key):
                self._asked.add("events")
                return self._first_events().attributes(event, key)

    def _attribute(self, prefix: str, key: str, kinds: Iterable[ValueType]) -> list[Column]:
        known = self._found.get(prefix + key)
        if known is None:
            names = (f"{prefix}{key}:{kind}" for kind in kinds)
            known = [self.without_empty(self.columns[name]) for name in names if name in self.columns]
            unplaced = self.unplaced(key) if prefix == "s:" else None
            if unplaced is not None:
                known.append(self.without_empty(unplaced))
            self._found[prefix + key] = known
        return known

    def look(self, column: Column) -> Look:
        """Return what is seen of a text column; those of unknown texts were all looked through at once."""
        known = self._looks.get(id(column))
        if known is None:
            known = self._looks[id(column)] = column, look([column])[0]
        return known[1]

    def without_empty(self, column: Column) -> Column:
        """Return a text column with the empty string, which libraries write for "not known", as null."""
        if not _is_text(column):
            return column
        coded = self._coded.get(id(column))
        if "" not in coded[1].values if coded is not None else not self.look(column).empty:
            return column
        return pc.if_else(pc.equal(column, EMPTY), NULLS[column.type], column)

    def alike(self, column: Column) -> Coded | None:
        """Return the distinct values of a text column where they are known or, being one, are seen at once."""
        known = self._coded.get(id(column))
        if known is not None:
            return known[1]
        found = alike(self.look(column))
        if found is not None:
            self._coded[id(column)] = column, found
        return found

    def coded(self, column: Column) -> Coded:
        """Return a column's distinct values and each span's place among them, made once for as long as it stands."""
        known = self._coded.get(id(column))
        if known is None:
            if _is_text(column):
                found = self.alike(column)
            else:
                found = alike_numbers(self.numbers(column)) if pa.types.is_integer(column.type) else None
            known = self._coded[id(column)] = column, coded(column) if found is None else found
        return known[1]

    def texts(self, coded: Coded) -> Column:
        """Return a text column of values that nobody needs to look for again."""
        column = spread(coded)
        self._coded[id(column)] = column, coded
        return column

    def put_texts(self, name: str, texts: Coded) -> None:
        """Set a text column by its distinct values."""
        self.put(name, self.texts(texts))

    def numbers(self, column: Column) -> Numbers:
        """Return a column of numbers or bools as it lies in memory, and which have a value."""
        known = self._numbers.get(id(column))
        if known is None:
            known = self._numbers[id(column)] = column, numbers(column)
        return known[1]

    def valid(self, column: Column) -> Truth:
        """Return which records have a value in a column."""
        if _is_text(column) or column.null_count in (0, self.rows):
            return valid(column)
        known = self.numbers(column)[1]
        return known is None or known

    def floats(self, column: Column) -> Floats:
        """Return a numeric column as floats with NaN for null, made once; nobody may change them."""
        known = self._floats.get(id(column))
        if known is None:
            values, valid = self.numbers(column)
            found = values.astype(np.float64, copy=False)
            if valid is not None:
                found = np.where(valid, found, np.nan)
            known = self._floats[id(column)] = column, found
        return known[1]

    def put_flags(self, name: str, where: Truth) -> None:
        """Set a column to true for some spans; the others have none."""
        if where is False:
            self.drop(name)
            return
        held = np.ones(self.rows, np.bool_) if where is True else where
        column = pa.array(held, mask=None if where is True else ~held)
        self._numbers[id(column)] = column, (held, None if where is True else held)
        self.put(name, column)

    def put_floats(self, columns: Mapping[str, Floats]) -> None:
        """Set columns of floats; NaN is none."""
        values = np.array(list(columns.values()))
        every: Column = pa.array(values.ravel(), mask=np.isnan(values).ravel())
        for place, (name, found) in enumerate(columns.items()):
            column = every.slice(place * self.rows, self.rows)
            self._floats[id(column)] = column, found
            self.put(name, column)

    def unplaced(self, key: str) -> Column | None:
        """Return as text what a span attribute holds without a column: lists, maps, and keys beyond the cap."""
        rest = self.rest()
        if rest is None or not rest.has(key):
            return None
        known = self._unplaced.get(key)
        if known is None or known[0] is not rest:
            known = self._unplaced[key] = rest, self.texts(rest.values(key))
        return known[1]

    def durations(self) -> Column:
        """Durations in seconds; null where a span ends before it starts."""
        column = self.columns["dur_ns"]
        if self._durations is None or self._durations[0] is not column:
            nanoseconds, _ = self.numbers(column)
            seconds, impossible = nanoseconds / 1e9, nanoseconds < 0
            self._durations = column, pa.array(seconds, mask=impossible)
            self._floats[id(self._durations[1])] = self._durations[1], np.where(impossible, np.nan, seconds)
        return self._durations[1]

    def has_events(self) -> bool:
        """Whether any span has an event."""
        column = self.columns.get("events")
        return column is not None and column.null_count < self.rows

    def _is_unknown_text(self, column: Column) -> bool:
        return _is_text(column) and id(column) not in self._coded and column.null_count < self.rows

    def _note(self, name: str) -> None:
        if name.startswith("s:"):
            self._kinds.setdefault(name[2:-2], []).append(_KINDS[name[-1]])

    def _first_events(self) -> FirstEvents:
        column = self.columns.get("events")
        if self._events is None or self._events[0] is not column:
            data = b"" if column is None else bytes(self.look(column).data)
            self._events = column, FirstEvents(column, data, self.rows)
        return self._events[1]

    def rest(self, name: str = "rest") -> Rest | None:
        """What spans hold without a column, or their resources (`rrest`); None where none holds anything."""
        column = self.columns.get(name)
        if column is None or column.null_count == self.rows:
            return None
        known = self._rest.get(name)
        if known is None or known[0] is not column:
            known = self._rest[name] = column, Rest(self.coded(column))
        return known[1]


def _is_text(column: Column) -> bool:
    return bool(column.type == _TEXT)


def or_zero(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the numbers with 0 where unknown, for sums in which an unknown part adds nothing."""
    return np.where(np.isnan(values), 0.0, values)
