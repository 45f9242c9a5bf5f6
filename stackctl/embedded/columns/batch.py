"""A batch of spans (or evaluation records) as named Arrow columns, and the reading of sources from it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

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

from .arrow import EMPTY, NULLS, Column, has_empty_text, pc
from .events import FirstEvents
from .rest import Rest

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]

_VALUE_TYPES: tuple[ValueType, ...] = ("s", "i", "d", "b")
_KINDS: dict[str, ValueType] = {kind: kind for kind in _VALUE_TYPES}


class Batch:
    """Columns by name, as the SpanTable contract spells them, changed in place while the rows run over them.

    Attributes:
        rows: how many spans.
        columns: name to array; each array is contiguous and as long as the batch.
        memo: conditions that were already judged, by identity since their own hashes are slow to make, each kept alive
            by its entry; emptied whenever a column changes.
        in_scope: the same of patterns of instrumentation scopes, which do not change; None for no span.
    """

    def __init__(self, table: pa.Table) -> None:
        self.rows: int = table.num_rows
        self.columns: dict[str, Column] = {
            name: _contiguous(column) for name, column in zip(table.column_names, table.columns, strict=True)
        }
        self.memo: dict[int, tuple[When, Mask]] = {}
        self.in_scope: dict[str, Mask | None] = {}
        # Which span attributes have columns: most rows of most dialects find nothing here and are done.
        self._kinds: dict[str, list[ValueType]] = {}
        for name in self.columns:
            self._note(name)
        self._scopes: tuple[list[str | None], Codes] | None = None
        # Text columns that were looked through for empty texts, by name: most are asked for again and again.
        self._full: dict[str, Column] = {}
        self._events: FirstEvents | None = None
        rest = self.columns.get("rest")
        self._rest = None if rest is None or rest.null_count == self.rows else Rest(rest)

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
        self.memo.clear()
        if name not in self.columns:
            self._note(name)
        self.columns[name] = column

    def drop(self, name: str) -> None:
        """Remove a column if it is there."""
        if self.columns.pop(name, None) is not None:
            self.memo.clear()
            if name.startswith("s:"):
                self._kinds[name[2:-2]].remove(_KINDS[name[-1]])

    def span(self, key: str, kind: ValueType) -> Column | None:
        """Return the span attribute's column of one type, or None."""
        return self.columns.get(f"s:{key}:{kind}")

    def spans(self, key: str) -> Iterator[tuple[ValueType, Column]]:
        """Yield the span attribute's columns in the types that it has."""
        for kind in self._kinds.get(key, ()):
            yield kind, self.columns[f"s:{key}:{kind}"]

    def has(self, key: str) -> bool:
        """Whether any span has the attribute, in a column or without one."""
        return bool(self._kinds.get(key)) or (self._rest is not None and self._rest.has(key))

    def scopes(self) -> tuple[list[str | None], Codes]:
        """Return the distinct names of instrumentation scopes and each span's place among them."""
        if self._scopes is None:
            encoded = pc.dictionary_encode(self.columns["scope"], null_encoding="encode")
            self._scopes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
        return self._scopes

    def read(self, source: Source) -> list[Column]:
        """Return the columns in which a source has values, none where it has no value in the whole batch.

        A list, since one key may have come in several types.
        """
        match source:
            case SpanAttr(key):
                return self._span_attribute(key)
            case ResourceAttr(key):
                names = (f"r:{key}:{kind}" for kind in _VALUE_TYPES)
                return [self.full(name) for name in names if name in self.columns]
            case Field(name):
                return [self.columns[name]] if name in self.columns else []
            case Duration():
                return [self.durations()]
            case One():
                return [pa.array(np.ones(self.rows))]
            case EventTime(event):
                times = self._first_events().times(event)
                return [] if times is None else [times]
            case EventAttr(event, key):
                return self._first_events().attributes(event, key)

    def _span_attribute(self, key: str) -> list[Column]:
        columns = [self.full(f"s:{key}:{kind}") for kind in self._kinds.get(key, ())]
        unplaced = self.unplaced(key)
        return columns if unplaced is None else [*columns, without_empty(unplaced)]

    def full(self, name: str) -> Column:
        """Return a column with the empty string as null: libraries write it for "not known"."""
        column = self.columns[name]
        if self._full.get(name) is not column:
            found = without_empty(column)
            if found is not column:
                return found
            self._full[name] = column
        return column

    def unplaced(self, key: str) -> Column | None:
        """Return as text what a span attribute holds without a column: lists, maps, and keys beyond the cap."""
        return None if self._rest is None else self._rest.values(key)

    def durations(self) -> Column:
        """Durations in seconds; null where a span ends before it starts."""
        nanoseconds = self.columns["dur_ns"].to_numpy(zero_copy_only=False)
        return pa.array(nanoseconds / 1e9, mask=nanoseconds < 0)

    def _note(self, name: str) -> None:
        if name.startswith("s:"):
            self._kinds.setdefault(name[2:-2], []).append(_KINDS[name[-1]])

    def _first_events(self) -> FirstEvents:
        if self._events is None:
            self._events = FirstEvents(self.columns.get("events"), self.rows)
        return self._events


def floats(column: Column | None, rows: int) -> npt.NDArray[np.float64]:
    """Return a numeric column as floats with NaN for null; all NaN where there is no column."""
    if column is None:
        return np.full(rows, np.nan)
    values: Any = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values  # type: ignore[no-any-return]


def _contiguous(column: Column) -> Column:
    array = (
        column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    )
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def without_empty(column: Column) -> Column:
    """Text columns with the empty string as null: libraries write it for "not known"."""
    if not pa.types.is_string(column.type) or not has_empty_text(column):
        return column
    return pc.if_else(pc.equal(column, EMPTY), NULLS[column.type], column)


def or_zero(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the numbers with 0 where unknown, for sums in which an unknown part adds nothing."""
    return np.where(np.isnan(values), 0.0, values)
