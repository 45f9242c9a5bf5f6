"""A batch of spans (or evaluation records) as named Arrow columns, and the reading of sources from it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

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
from stackctl.remembering import Memory

from .arrow import EMPTY, NULLS, Column, pc
from .events import FirstEvents
from .kinds import coded, only_number, only_text
from .looks import Look, look
from .presence import Presences
from .rest import Rest
from .views import OCTETS, Floats, Numbers, Truth, held, is_text

_VALUE_TYPES: tuple[ValueType, ...] = ("s", "i", "d", "b")
_KINDS: dict[str, ValueType] = {kind: kind for kind in _VALUE_TYPES}
# Characters of sets of columns that are remembered, whose keys senders choose; a set counts for some itself.
_REMEMBERED: Final = 1024**2
_EACH: Final = 4096


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
        presences: which records have a value, shared by the columns in which the same do.
    """

    def __init__(self, rows: pa.Table | Arrays) -> None:
        arrays = rows if isinstance(rows, Arrays) else Arrays.of(rows)
        self.rows = arrays.rows
        self.columns: dict[str, Column] = dict(arrays.columns)
        self.memo: dict[int, tuple[When, Truth]] = {}
        self.in_scope: dict[str, Truth] = {}
        # What conditions may have been judged by: keys of attributes, and the names of other columns.
        self._asked: set[str] = set()
        shape = _shape(self.columns)
        # Which span attributes have columns: most rows of most dialects find nothing here and are done.
        self._kinds = dict(shape.kinds)
        # The columns in which an attribute has values, by prefix and key: most are asked for again and again.
        self._found: dict[str, list[Column]] = {}
        # What was seen of columns, each kept alive by its entry, and so its identity its own.
        self.presences = Presences(self.rows)
        known = [(self.columns[name], found) for name, found in arrays.known.items()]
        self._coded = {id(column): (column, found) for column, found in known}
        unknown = [self.columns[name] for name in shape.texts if name not in arrays.known]
        texts = [column for column in unknown if column.null_count < self.rows]
        looks = look(texts, self.presences)
        self._looks = {id(column): (column, seen) for column, seen in zip(texts, looks, strict=True)}
        # Columns that came with an empty text: few batches have any.
        self._hollow = {id(column) for column, seen in zip(texts, looks, strict=True) if seen.empty}
        self._hollow.update(id(column) for column, found in known if "" in found.values)
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
        if name not in self.columns and name.startswith("s:"):
            self._kinds[name[2:-2]] = (*self._kinds.get(name[2:-2], ()), _KINDS[name[-1]])
        self.columns[name] = column

    def drop(self, name: str) -> None:
        """Remove a column if it is there."""
        if self.columns.pop(name, None) is not None:
            self._forget(name)
            if name.startswith("s:"):
                self._kinds[name[2:-2]] = tuple(kind for kind in self._kinds[name[2:-2]] if kind != name[-1])

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

    def tidy(self, names: Iterable[str]) -> None:
        """Leave no empty texts in columns that came, and no column that holds nothing but nulls."""
        for name in names:
            column = self.columns[name]
            if id(column) in self._hollow or column.null_count == self.rows:
                self.put(name, self.without_empty(column))

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
        if not is_text(column):
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
        text = only_text(self.look(column), self.rows - column.null_count)
        if text is None:
            return None
        return self._coded.setdefault(id(column), (column, self._alike(column, text)))[1]

    def coded(self, column: Column) -> Coded:
        """Return a column's distinct values and each span's place among them, made once for as long as it stands."""
        known = self._coded.get(id(column))
        if known is not None:
            return known[1]
        found = self.alike(column) if is_text(column) else self._alike_numbers(column)
        return self._coded.setdefault(id(column), (column, coded(column) if found is None else found))[1]

    def _alike_numbers(self, column: Column) -> Coded | None:
        if not pa.types.is_integer(column.type) or column.null_count == self.rows:
            return None
        number = only_number(*self.numbers(column))
        return None if number is None else self._alike(column, number)

    def _alike(self, column: Column, value: Any) -> Coded:
        """The codes of a column in which every record that has a value has the same."""
        if column.null_count == 0:
            return Coded(np.zeros(self.rows, np.int32), [value])
        return Coded(self.presences.of(column).codes, [value, None])

    def texts(self, coded: Coded) -> Column:
        """Return a text column of values that nobody needs to look for again."""
        present = [text for text in coded.values if text is not None]
        if len(present) == 1 and present[0] and len(coded.values) > 1:
            there = tuple([text is not None for text in coded.values])
            column = self.presences.of_kinds(coded.codes, there).repeated(present[0])
        else:
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
            there = self.presences.of(column).valid if column.null_count else None
            known = self._numbers[id(column)] = column, (held(column), there)
        return known[1]

    def valid(self, column: Column) -> Truth:
        """Return which records have a value in a column; nobody may change it."""
        nulls: int = column.null_count
        return nulls == 0 if nulls in (0, self.rows) else self.presences.of(column).valid

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

    def least(self, names: Iterable[str], largest: float) -> Mapping[str, float]:
        """Return the least number of those columns that there are, all looked at together.

        It is below any number where one is not finite or above the largest, and above 0 where there is no number.
        """
        columns = {name: self.columns[name] for name in names if name in self.columns}
        if not columns:
            return {}
        numbers = [self.numbers(column) for column in columns.values()]
        values = np.array([held for held, _ in numbers], np.float64)
        every = np.ones(self.rows, np.bool_)
        known = np.array([every if known is None else known for _, known in numbers])
        filled = np.where(known, values, 1.0)
        lowest, highest = (find.reduce(filled, axis=1).tolist() for find in (np.minimum, np.maximum))
        for column, floats in zip(columns.values(), np.where(known, values, np.nan), strict=True):
            self._floats[id(column)] = column, floats
        ends = zip(columns, lowest, highest, strict=True)
        return {name: least if most <= largest else -np.inf for name, least, most in ends}

    def has_octet(self, name: str, octet: int) -> bool:
        """Whether a column of octets has one among its values; it may have where that is not seen at once."""
        column = self.columns.get(name)
        if column is None or column.type.id != OCTETS:
            return column is not None
        held: bytes = column.buffers()[1].slice(column.offset, self.rows).to_pybytes()
        return octet.to_bytes() in held

    def put_flags(self, name: str, where: Truth) -> None:
        """Set a column to true for some spans; the others have none."""
        if where is False:
            self.drop(name)
            return
        flags = np.ones(self.rows, np.bool_) if where is True else where
        there = self.presences.where(flags)
        column = there.holding(pa.bool_(), there.octets)
        self._numbers[id(column)] = column, (flags, None if where is True else flags)
        self.put(name, column)

    def put_floats(self, columns: Mapping[str, Floats]) -> None:
        """Set columns of floats; NaN is none."""
        values = np.array(list(columns.values()))
        every: Column = pa.array(values.ravel(), mask=np.isnan(values).ravel())
        for place, (name, found) in enumerate(zip(columns, values, strict=True)):
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
            if np.count_nonzero(impossible):
                self._durations = column, pa.array(seconds, mask=impossible)
                seconds = np.where(impossible, np.nan, seconds)
            else:
                self._durations = column, pa.array(seconds)
            self._floats[id(self._durations[1])] = self._durations[1], seconds
        return self._durations[1]

    def has_events(self) -> bool:
        """Whether any span has an event."""
        column = self.columns.get("events")
        return column is not None and column.null_count < self.rows

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


class _Shape(NamedTuple):
    """What the names of a batch's columns say.

    Attributes:
        kinds: the types in which each span attribute has a column.
        texts: columns of texts.
    """

    kinds: Mapping[str, tuple[ValueType, ...]]
    texts: tuple[str, ...]


_SHAPES: Final[Memory[tuple[str, ...], _Shape]] = Memory(_REMEMBERED)


def _shape(columns: Mapping[str, Column]) -> _Shape:
    """Return the shape of columns; remembered, since services send the same keys for ever."""
    names = tuple(columns)
    known = _SHAPES.get(names)
    if known is None:
        kinds: dict[str, tuple[ValueType, ...]] = {}
        for name in names:
            if name.startswith("s:"):
                kinds[name[2:-2]] = (*kinds.get(name[2:-2], ()), _KINDS[name[-1]])
        # An attribute's type stands in its name.
        texts = (name for name in names if (name.endswith(":s") if ":" in name else is_text(columns[name])))
        known = _Shape(kinds, tuple(texts))
        _SHAPES.put(names, known, _EACH + sum(map(len, names)))
    return known


def or_zero(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the numbers with 0 where unknown, for sums in which an unknown part adds nothing."""
    return np.where(np.isnan(values), 0.0, values)
