"""Arrow columns as numpy reads them where they lie in memory: most questions of a rule take a microsecond there."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .arrow import Column

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
# What holds for every span alike, or for none, is a bool: most conditions, and none of them needs an array.
Truth = Mask | bool
# Values, and which of them are there: None where all are. Anything may stand in the place of one that is not.
Numbers = tuple[npt.NDArray[Any], Mask | None]


def numbers(column: Column) -> Numbers:
    """Return a column of numbers or bools as it lies in memory."""
    valid, held = column.buffers()
    if not len(column):
        return np.zeros(0, column.type.to_pandas_dtype()), None
    if pa.types.is_boolean(column.type):
        values: npt.NDArray[Any] = _bits(held, column)
    else:
        values = np.frombuffer(held, column.type.to_pandas_dtype(), len(column) + column.offset)[column.offset :]
    return values, _bits(valid, column) if column.null_count else None


def valid(column: Column) -> Truth:
    """Which records have a value."""
    nulls: int = column.null_count
    if nulls in (0, len(column)):
        return nulls == 0
    return _bits(column.buffers()[0], column)


def _bits(buffer: Any, column: Column) -> Mask:
    """A bitmap of a column as bools."""
    skipped, first = divmod(column.offset, 8)
    octets = np.frombuffer(buffer, np.uint8, offset=skipped)
    return np.unpackbits(octets, count=first + len(column), bitorder="little")[first:].view(np.bool_)
