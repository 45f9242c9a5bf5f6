"""Arrow as the other modules here use it: untyped columns and kernels, and scalars made once.

Without a type given, pyarrow looks for pandas on every conversion of a Python value, which takes 0.1 ms.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from stackctl.genai.rows import ValueType

# The stubs of pyarrow know too little of kernels and nested types to be of help.
Column = Any
pc: Any = pyarrow.compute

ARROW_TYPES: Final[Mapping[ValueType, pa.DataType]] = {
    "s": pa.string(),
    "i": pa.int64(),
    "d": pa.float64(),
    "b": pa.bool_(),
}
NULLS: Final[Mapping[pa.DataType, Any]] = {kind: pa.scalar(None, kind) for kind in ARROW_TYPES.values()}
FALSE: Final = pa.scalar(False, pa.bool_())
EMPTY: Final = pa.scalar("", pa.string())
ZERO: Final[Mapping[pa.DataType, Any]] = {kind: pa.scalar(0, kind) for kind in (pa.int64(), pa.float64())}


def has_empty_text(column: Column) -> bool:
    """Whether a text column has the empty string among its values, read from its offsets."""
    if not len(column):
        return False
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    empty = offsets[1:] == offsets[:-1]
    if column.null_count and empty.any():
        empty &= column.is_valid().to_numpy(zero_copy_only=False)
    return bool(empty.any())


def text_bytes(column: Column) -> tuple[npt.NDArray[np.uint8], int]:
    """The column's UTF-8 bytes in one piece, and the length in bytes of its longest value."""
    buffers: list[Any] = column.buffers()
    if not len(column) or buffers[2] is None:
        return np.zeros(0, np.uint8), 0
    offsets = np.frombuffer(buffers[1], np.int32)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(buffers[2], np.uint8)[offsets[0] : offsets[-1]]
    return data, int((offsets[1:] - offsets[:-1]).max())
