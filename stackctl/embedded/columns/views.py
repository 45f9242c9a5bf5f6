"""Arrow columns as numpy reads them where they lie in memory: most questions of a rule take a microsecond there."""

from typing import Any, Final

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

# By their numbers, since types are slow to compare and slower to hash.
TEXT: Final[int] = pa.string().id
OCTETS: Final[int] = pa.int8().id
_BOOL: Final[int] = pa.bool_().id
_NUMPY: Final = {
    kind.id: np.dtype(kind.to_pandas_dtype())
    for kind in (pa.bool_(), pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float64())
}


def is_text(column: Column) -> bool:
    """Whether a column holds texts."""
    return bool(column.type.id == TEXT)


def held(column: Column) -> npt.NDArray[Any]:
    """Return the values of a column of numbers or bools as they lie in memory, without regard to nulls."""
    kind = column.type.id
    buffer = column.buffers()[1]
    if kind == _BOOL:
        return _bits(buffer, column)
    dtype = _NUMPY[kind] if kind in _NUMPY else np.dtype(column.type.to_pandas_dtype())
    if not len(column):
        return np.zeros(0, dtype)
    return np.frombuffer(buffer, dtype, len(column), column.offset * dtype.itemsize)


def _bits(buffer: Any, column: Column) -> Mask:
    """A bitmap of a column as bools."""
    if not len(column):
        return np.zeros(0, np.bool_)
    skipped, first = divmod(column.offset, 8)
    octets = np.frombuffer(buffer, np.uint8, offset=skipped)
    return np.unpackbits(octets, count=first + len(column), bitorder="little")[first:].view(np.bool_)
