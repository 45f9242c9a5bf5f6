"""Normalise: fill the canonical keys of a batch from the rows of the dialects."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa

from stackctl.genai import implied
from stackctl.genai.derived import DERIVED_TYPES
from stackctl.genai.rows import (
    KEY_TYPES,
    QUANTITIES,
    Dialect,
    Erase,
    EventAttr,
    EventTime,
    Row,
    SpanAttr,
    ValueType,
    span_attributes,
)

from .arrow import NULLS, Column, pc
from .batch import Batch, without_empty
from .conditions import both, judged, scope_holds, text_matches
from .conversions import convert, typed
from .views import Truth

# Keys and scopes that came together, and whether there were events; of many scopes, none is looked at.
_Likeness: TypeAlias = tuple[frozenset[str], frozenset[str | None] | None, bool]
_FEW_SCOPES: Final = 16
# Such sets that are remembered; senders choose keys and scopes, so the memory is emptied when full.
_REMEMBERED: Final = 256
_REMEMBERED_LENGTH: Final = 64 * 1024


@dataclass(frozen=True)
class _Plan:
    """What may find anything in batches whose spans have certain keys and scopes; most rows cannot.

    Attributes:
        keys: canonical keys that came.
        steps: erases and rows, in the order in which they run.
        quantities: canonical quantities that there may be then.
    """

    keys: tuple[tuple[str, ValueType], ...]
    steps: tuple[Erase | Row, ...]
    quantities: tuple[str, ...]


class Normaliser:
    """Brings the canonical keys of spans into their one spelling, type and unit.

    Args:
        dialects: whose rows are run.
    """

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        dialects = tuple(dialects)
        erases = [erase for dialect in dialects for erase in dialect.erases]
        rows = [row for dialect in dialects for row in dialect.rows]
        self._steps: tuple[Erase | Row, ...] = (*erases, *rows, *implied.ERASES, *implied.ROWS)
        self._plans: dict[_Likeness, _Plan] = {}
        # The keys that steps of each scope read.
        self._reads: dict[str, set[str]] = {}
        for step in self._steps:
            self._reads.setdefault(step.scope, set()).update(span_attributes(step))
        self._read: dict[frozenset[str], frozenset[str]] = {}

    def run(self, batch: Batch) -> None:
        """Normalise a batch in place."""
        _drop_ours(batch)
        plan = self._plan(batch)
        for key, kind in plan.keys:
            _unite_types(batch, key, kind)
        for step in plan.steps:
            if isinstance(step, Row):
                _fill(batch, step)
            else:
                _erase(batch, step)
        for key in plan.quantities:
            _drop_impossible(batch, key)

    def read(self, scopes: frozenset[str]) -> frozenset[str]:
        """The span attributes that may be read where spans of these scopes came together."""
        read = self._read.get(scopes)
        if read is None:
            few = scopes if len(scopes) <= _FEW_SCOPES else None
            read = frozenset[str]().union(*(keys for pattern, keys in self._reads.items() if _is_of(pattern, few)))
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            if sum(map(len, scopes)) <= _REMEMBERED_LENGTH:
                self._read[scopes] = read
        return read

    def _plan(self, batch: Batch) -> _Plan:
        """What may find something in a batch; remembered, since services send the same keys for ever."""
        keys = batch.keys()
        scopes = batch.coded(batch.columns["scope"]).values
        likeness = keys, frozenset(scopes) if len(scopes) <= _FEW_SCOPES else None, batch.has_events()
        plan = self._plans.get(likeness)
        if plan is None:
            plan = self._planned(*likeness)
            if len(self._plans) >= _REMEMBERED:
                self._plans.clear()
            if sum(map(len, keys)) + sum(len(scope or "") for scope in likeness[1] or ()) <= _REMEMBERED_LENGTH:
                self._plans[likeness] = plan
        return plan

    def _planned(self, keys: frozenset[str], scopes: frozenset[str | None] | None, events: bool) -> _Plan:
        inside = [step for step in self._steps if _reaches(step, scopes, events)]
        # A row may make what another reads, so keys are added until no row adds one.
        there, before = keys, frozenset[str]()
        while there != before:
            before, there = there, there | {row.key for row in inside if isinstance(row, Row) and _may_find(row, there)}
        return _Plan(
            tuple((key, kind) for key, kind in KEY_TYPES.items() if key in keys),
            tuple(step for step in inside if (_may_find(step, there) if isinstance(step, Row) else step.key in there)),
            tuple(key for key in QUANTITIES if key in there),
        )


def _reaches(step: Erase | Row, scopes: frozenset[str | None] | None, events: bool) -> bool:
    """Whether there are spans of a step's scope, and events where it reads them."""
    if isinstance(step, Row) and isinstance(step.source, EventAttr | EventTime) and not events:
        return False
    return _is_of(step.scope, scopes)


def _is_of(pattern: str, scopes: Iterable[str | None] | None) -> bool:
    """Whether one of the scopes matches; of None it is not known, so one may."""
    if scopes is None or not pattern:
        return True
    return any(scope is not None and text_matches(pattern, scope) for scope in scopes)


def _may_find(row: Row, keys: frozenset[str]) -> bool:
    """Whether a row's source may be there."""
    return not isinstance(row.source, SpanAttr) or row.source.key in keys


def _drop_ours(batch: Batch) -> None:
    """An application that sends what only the pipeline may write would choose its own cost."""
    for key in batch.keys() & DERIVED_TYPES.keys():
        for kind, _ in list(batch.spans(key)):
            batch.drop(f"s:{key}:{kind}")


def _unite_types(batch: Batch, key: str, kind: ValueType) -> None:
    """Leave one column of the key, in its own type; a value without a column, such as a list, finds its place too."""
    name = f"s:{key}:{kind}"
    unplaced = batch.unplaced(key)
    if unplaced is None and [found for found, _ in batch.spans(key)] == [kind]:
        batch.put(name, batch.full(name))
        return
    column: Column | None = None
    for found, other in sorted(batch.spans(key), key=lambda pair: pair[0] != kind):
        if found != kind:
            batch.drop(f"s:{key}:{found}")
        column = typed(other, kind) if column is None else pc.coalesce(column, typed(other, kind))
    if unplaced is not None:
        unplaced = typed(unplaced, kind)
        column = unplaced if column is None else pc.coalesce(column, unplaced)
    if column is not None:
        batch.put(name, without_empty(column))


def _erase(batch: Batch, erase: Erase) -> None:
    name = f"s:{erase.key}:{KEY_TYPES[erase.key]}"
    column = batch.columns.get(name)
    if column is None:
        return
    where = _applies(batch, erase)
    if where is True:
        batch.drop(name)
    elif where is not False:
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
    if where is False:
        return
    filled = present
    for source in batch.read(row.source):
        value = convert(row.convert, source, kind, batch)
        if where is not True:
            value = pc.if_else(pa.array(where), value, NULLS[value.type])
        filled = value if filled is None else pc.coalesce(filled, value)
    if filled is not None and (present is None or filled.null_count < present.null_count):
        batch.put(name, filled)


def _applies(batch: Batch, step: Erase | Row) -> Truth:
    within = scope_holds(step.scope, batch)
    return False if within is False else both(within, judged(step.when, batch))


def _drop_impossible(batch: Batch, key: str) -> None:
    """A negative or non-finite quantity is unknown."""
    name = f"s:{key}:{KEY_TYPES[key]}"
    column = batch.columns.get(name)
    if column is None:
        return
    held = batch.floats(column)
    sane = (held >= 0) & (held < np.inf)
    if np.count_nonzero(sane) + column.null_count < batch.rows:
        batch.put(name, pc.if_else(pa.array(sane), column, NULLS[column.type]))
