"""Columns by their distinct values, and the kinds of records that several of them make up.

What rules decide from texts is decided once for each kind: a batch has thousands of records and a handful of kinds.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.arrays import Coded, Codes

from .arrow import Column
from .looks import Look
from .views import Mask

# Combinations that there may be, so few that a table of all of them is made faster than records are sorted.
_COUNTED: Final = 4096


# A column that is not there.
NOTHING: Final = Coded(np.zeros(0, np.int32), [None])


def coded(column: Column) -> Coded:
    """Return a column by its distinct values."""
    encoded = column.dictionary_encode(null_encoding="encode")
    return Coded(encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist())


def only_text(seen: Look, count: int) -> str | None:
    """The text of a column if all of the `count` that have one have the same: hashing each takes ten times as long."""
    if not seen.even:
        return None
    data, length = seen.data, seen.longest
    first = data.slice(0, length).to_pybytes()
    last = data.slice(data.size - length, length).to_pybytes()
    return first.decode() if last == first and data.equals(pa.py_buffer(first * count)) else None


def only_number(values: npt.NDArray[Any], valid: Mask | None) -> Any:
    """The same of whole numbers or bools, of which there is one at least."""
    first = values[0 if valid is None else valid.argmax()]
    differing = values != first
    found = np.count_nonzero(differing if valid is None else differing & valid)
    return None if found else first.item()


def combined(columns: Sequence[Coded], count: int) -> Coded:
    """Return several columns of `count` records as one, whose values are tuples, no two of one code."""
    # Columns of the same codes tell no more records apart than the first of them.
    telling: dict[int, Coded] = {}
    for column in columns:
        if len(column.values) > 1:
            telling.setdefault(id(column.codes), column)
    if not telling:
        return Coded(np.zeros(count, np.int64), [tuple([column.values[0] for column in columns])] if count else [])
    leading, *others = telling.values()
    span = len(leading.values)
    if not others and np.bincount(leading.codes, minlength=span).all():
        each = [column.values if len(column.values) > 1 else [column.values[0]] * span for column in columns]
        return Coded(leading.codes, list(zip(*each, strict=True)))
    mixed: Codes = leading.codes.astype(np.int64)
    for column in others:
        if span * len(column.values) > _COUNTED:
            first, mixed = _distinct(mixed, span)
            span = len(first)
        mixed = mixed * len(column.values) + column.codes
        span *= len(column.values)
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
