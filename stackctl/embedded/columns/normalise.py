"""Normalise: fill the canonical keys of a batch from the rows of the dialects."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa

from stackctl.genai import implied
from stackctl.genai.derived import DERIVED_TYPES
from stackctl.genai.rows import ALWAYS, KEY_TYPES, QUANTITIES, Dialect, Erase, Row, SpanAttr, ValueType

from .arrow import NULLS, ZERO, Column, pc
from .batch import Batch, Mask, without_empty
from .conditions import holds, scope_holds
from .conversions import convert, typed

# Sets of keys that came together; senders choose keys, so the memory is emptied when full.
_REMEMBERED: Final = 256
_REMEMBERED_LENGTH: Final = 64 * 1024


class Normaliser:
    """Brings the canonical keys of spans into their one spelling, type and unit.

    Args:
        dialects: whose rows are run.
    """

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        dialects = tuple(dialects)
        self._erases = [erase for dialect in dialects for erase in dialect.erases]
        self._rows = [row for dialect in dialects for row in dialect.rows]
        self._of_keys: dict[frozenset[str], list[Row]] = {}

    def run(self, batch: Batch) -> None:
        """Normalise a batch in place."""
        _drop_ours(batch)
        rows = self._possible(batch.keys())
        for key, kind in KEY_TYPES.items():
            _unite_types(batch, key, kind)
        for erase in self._erases:
            _erase(batch, erase)
        for row in rows:
            _fill(batch, row)
        for erase in implied.ERASES:
            _erase(batch, erase)
        for row in implied.ROWS:
            _fill(batch, row)
        for key in QUANTITIES:
            _drop_impossible(batch, key)

    def _possible(self, keys: frozenset[str]) -> list[Row]:
        """The rows that may find something in spans of some keys: most read the spelling of one library."""
        found = self._of_keys.get(keys)
        if found is None:
            found = [row for row in self._rows if _may_find(row, keys)]
            if len(self._of_keys) >= _REMEMBERED:
                self._of_keys.clear()
            if sum(map(len, keys)) <= _REMEMBERED_LENGTH:
                self._of_keys[keys] = found
        return found


def _may_find(row: Row, keys: frozenset[str]) -> bool:
    """Whether a row's source is there, or another row may make it."""
    return not isinstance(row.source, SpanAttr) or row.source.key in keys or row.source.key in KEY_TYPES


def _drop_ours(batch: Batch) -> None:
    """An application that sends what only the pipeline may write would choose its own cost."""
    for key in DERIVED_TYPES:
        for kind, _ in list(batch.spans(key)):
            batch.drop(f"s:{key}:{kind}")


def _unite_types(batch: Batch, key: str, kind: ValueType) -> None:
    """Leave one column of the key, in its own type; a value without a column, such as a list, finds its place too."""
    if not batch.has(key):
        return
    column: Column | None = None
    for found, other in sorted(batch.spans(key), key=lambda pair: pair[0] != kind):
        if found != kind:
            batch.drop(f"s:{key}:{found}")
        column = typed(other, kind) if column is None else pc.coalesce(column, typed(other, kind))
    unplaced = batch.unplaced(key)
    if unplaced is not None:
        unplaced = typed(unplaced, kind)
        column = unplaced if column is None else pc.coalesce(column, unplaced)
    if column is not None:
        batch.put(f"s:{key}:{kind}", without_empty(column))


def _erase(batch: Batch, erase: Erase) -> None:
    name = f"s:{erase.key}:{KEY_TYPES[erase.key]}"
    column = batch.columns.get(name)
    if column is None:
        return
    where = scope_holds(erase.scope, batch)
    if where is None:
        return
    where = where & holds(erase.when, batch)
    if where.any():
        batch.put(name, pc.if_else(pa.array(where), NULLS[column.type], column))


def _fill(batch: Batch, row: Row) -> None:
    kind = KEY_TYPES[row.key]
    name = f"s:{row.key}:{kind}"
    present = batch.columns.get(name)
    if present is not None and present.null_count == 0:
        return
    if isinstance(row.source, SpanAttr) and not batch.has(row.source.key):
        return
    where = _applies(batch, row)
    if where is None:
        return
    filled = present
    for source in batch.read(row.source):
        value = convert(row.convert, source, kind, batch)
        if not where.all():
            value = pc.if_else(pa.array(where), value, NULLS[value.type])
        filled = value if filled is None else pc.coalesce(filled, value)
    if filled is not None and (present is None or filled.null_count < present.null_count):
        batch.put(name, filled)


def _applies(batch: Batch, row: Row) -> Mask | None:
    where = scope_holds(row.scope, batch)
    if where is None or row.when == ALWAYS:
        return where
    where = where & holds(row.when, batch)
    return where if where.any() else None


def _drop_impossible(batch: Batch, key: str) -> None:
    """A negative or non-finite quantity is unknown."""
    name = f"s:{key}:{KEY_TYPES[key]}"
    column = batch.columns.get(name)
    if column is None:
        return
    low = pc.min(column).as_py()
    if low is not None and (low < 0 or (KEY_TYPES[key] == "d" and not np.isfinite(pc.sum(column).as_py()))):
        sane = pc.and_(pc.greater_equal(column, ZERO[column.type]), pc.is_finite(column))
        batch.put(name, pc.if_else(sane, column, NULLS[column.type]))
