"""Normalise: fill the canonical keys of a batch from the rows of the dialects."""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.genai.rows import KEY_TYPES, LARGEST_QUANTITY, AddTo, Erase, Row, SpanAttr, ValueType

from .arrow import NULLS, Column, pc
from .batch import Batch
from .conditions import both, inverse, judged, scope_holds
from .conversions import convert, typed
from .planning import Plan, Step
from .views import Truth


def normalise(batch: Batch, plan: Plan) -> None:
    """Bring the canonical keys of spans into their one spelling, type and unit, in place.

    Args:
        batch: spans that nothing was done with yet.
        plan: of the batch.
    """
    for name in plan.ours:  # an application that sends what only the pipeline may write would choose its own cost
        batch.drop(name)
    batch.tidy(plan.whole)
    for key, kind in plan.mixed:
        _unite_types(batch, key, kind)
    for step in plan.steps:
        if isinstance(step, Row):
            _rewrite(batch, step) if step.rewrites else _fill(batch, step)
        elif isinstance(step, AddTo):
            _add(batch, step)
        else:
            _erase(batch, step)
    _drop_impossible(batch, plan.quantities)


def _unite_types(batch: Batch, key: str, kind: ValueType) -> None:
    """Leave one column of the key, in its own type; a value without a column, such as a list, finds its place too."""
    name = f"s:{key}:{kind}"
    unplaced = batch.unplaced(key)
    column: Column | None = None
    for found, other in sorted(batch.spans(key), key=lambda pair: pair[0] != kind):
        if found != kind:
            batch.drop(f"s:{key}:{found}")
        column = typed(other, kind) if column is None else pc.coalesce(column, typed(other, kind))
    if unplaced is not None:
        unplaced = typed(unplaced, kind)
        column = unplaced if column is None else pc.coalesce(column, unplaced)
    if column is not None:
        batch.put(name, batch.without_empty(column))


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


def _rewrite(batch: Batch, row: Row) -> None:
    kind = KEY_TYPES[row.key]
    present = batch.span(row.key, kind)
    where = False if present is None else _applies(batch, row)
    if present is None or where is False:
        return
    value = convert(row.convert, present, kind, batch)
    if where is not True:
        value = pc.if_else(pa.array(where), value, NULLS[value.type])
    batch.put(f"s:{row.key}:{kind}", pc.coalesce(value, present))


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
        there = batch.valid(source)
        gaps = both(where, there)
        if filled is not None:
            has = batch.valid(filled)
            gaps = False if has is there else both(inverse(has), gaps)
        if gaps is False:
            continue
        value = convert(row.convert, source, kind, batch)
        if where is not True:
            value = pc.if_else(pa.array(where), value, NULLS[value.type])
        filled = value if filled is None else pc.coalesce(filled, value)
    if filled is not None and (present is None or filled.null_count < present.null_count):
        batch.put(name, filled)


def _add(batch: Batch, step: AddTo) -> None:
    column = batch.span(step.key, "i")
    parts = [part for part in (batch.span(key, "i") for key in step.parts) if part is not None]
    if column is None or not parts:
        return
    where = _applies(batch, step)
    if where is False:
        return
    number, known = batch.numbers(column)
    more = functools.reduce(np.add, [_above_zero(batch, part) for part in parts])
    # What has no value lies in memory as anything, and sums beyond an int64 are below what they are made of.
    wanted = both(where, (more > number) if step.beyond else (more > 0))
    if wanted is False:  # as in most batches
        return
    enough = (number >= 0) & (number + more >= more)
    wanted = both(wanted, enough if known is None else enough & known)
    if wanted is False:
        return
    added = np.where(wanted, number + more, number)
    batch.put(f"s:{step.key}:i", pa.array(added, mask=None if known is None else ~known))


def _above_zero(batch: Batch, column: Column) -> npt.NDArray[np.int64]:
    number, known = batch.numbers(column)
    return np.maximum(number if known is None else np.where(known, number, 0), 0)


def _applies(batch: Batch, step: Step) -> Truth:
    within = scope_holds(step.scope, batch)
    return False if within is False else both(within, judged(step.when, batch))


def _drop_impossible(batch: Batch, names: Sequence[str]) -> None:
    """A quantity that is negative, not finite or larger than any can be is unknown."""
    columns = {name: batch.columns[name] for name in names if name in batch.columns}
    if not columns:
        return
    held = np.array([batch.floats(column) for column in columns.values()])
    sane = (held >= 0) & (held <= LARGEST_QUANTITY)
    for (name, column), possible, count in zip(columns.items(), sane, sane.sum(axis=1).tolist(), strict=True):
        if count + column.null_count < batch.rows:
            batch.put(name, pc.if_else(pa.array(possible), column, NULLS[column.type]))
