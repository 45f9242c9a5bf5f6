"""Columns by their distinct values, and the kinds of records that several of them make up.

What rules decide from texts is decided once for each kind: a batch has thousands of records and a handful of kinds.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from stackctl.embedded.arrays import Coded, Codes

from .arrow import Column
from .looks import Look
from .views import Numbers

# Combinations that there may be, so few that a table of all of them is made faster than records are sorted.
_COUNTED: Final = 4096


# A column that is not there.
NOTHING: Final = Coded(np.zeros(0, np.int32), [None])


def coded(column: Column) -> Coded:
    """Return a column by its distinct values."""
    encoded = column.dictionary_encode(null_encoding="encode")
    return Coded(encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist())


def alike(seen: Look) -> Coded | None:
    """Code a text column if all that have a text have the same: most do, and hashing each takes ten times as long."""
    if seen.missing is None:
        return None
    data, length = seen.data, seen.longest
    text = data.slice(0, length).to_pybytes()
    last = data.slice(data.size - length, length).to_pybytes()
    if last != text or not data.equals(pa.py_buffer(text * (data.size // length))):
        return None
    if data.size == length * len(seen.missing):
        return Coded(np.zeros(len(seen.missing), np.int32), [text.decode()])
    return Coded(seen.missing.view(np.int8), [text.decode(), None])


def alike_numbers(held: Numbers) -> Coded | None:
    """The same of a column of whole numbers or bools."""
    values, known = held
    differing = values != values[0 if known is None else known.argmax()]
    if np.count_nonzero(differing if known is None else differing & known):
        return None
    if known is None:
        return Coded(np.zeros(len(values), np.int32), [values[0].item()])
    return Coded((~known).view(np.int8), [values[known.argmax()].item(), None])


def combined(columns: Sequence[Coded], count: int) -> Coded:
    """Return several columns of `count` records as one, whose values are tuples, no two of one code."""
    mixed: Codes = np.zeros(count, np.int64)
    span = 1
    for column in columns:
        if len(column.values) == 1:
            continue
        if span * len(column.values) > _COUNTED and span > 1:
            first, mixed = _distinct(mixed, span)
            span = len(first)
        mixed = mixed * len(column.values) + column.codes if span > 1 else column.codes.astype(np.int64)
        span *= len(column.values)
    if span == 1:
        return Coded(mixed, [tuple([column.values[0] for column in columns])] if count else [])
    first, codes = _distinct(mixed, span)
    each = [_values_at(column, first) for column in columns]
    return Coded(codes, list(zip(*each, strict=True)))


def _values_at(column: Coded, records: Codes) -> list[Any]:
    if len(column.values) == 1:
        return [column.values[0]] * len(records)
    return [column.values[code] for code in column.codes[records].tolist()]


def _distinct(numbers: Codes, span: int) -> tuple[Codes, Codes]:
    """Return for each distinct number below `span` a record that has it, and for each record its number's place."""
    if span > _COUNTED:
        _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        return first, inverse
    holder = np.full(span, -1)
    holder[numbers] = np.arange(len(numbers))
    present = np.flatnonzero(holder >= 0)
    places = np.zeros(span, np.int64)
    places[present] = np.arange(len(present))
    return holder[present], places[numbers]
