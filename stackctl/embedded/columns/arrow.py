"""Arrow as the other modules here use it: untyped columns and kernels, and scalars made once.

Without a type given, pyarrow looks for pandas on every conversion of a Python value, which takes 0.1 ms.
"""

from collections.abc import Mapping
from typing import Any, Final

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
