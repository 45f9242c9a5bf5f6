"""Arrow scalars made once: without a type given, pyarrow looks for pandas on every conversion of a Python value (0.1 ms)."""

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from stackctl.genai.rows import ValueType

ARROW_TYPES: Final[Mapping[ValueType, pa.DataType]] = {
    "s": pa.string(),
    "i": pa.int64(),
    "d": pa.float64(),
    "b": pa.bool_(),
}
NULLS: Final[Mapping[pa.DataType, pa.Scalar]] = {kind: pa.scalar(None, kind) for kind in ARROW_TYPES.values()}
FALSE: Final = pa.scalar(False, pa.bool_())
EMPTY: Final = pa.scalar("", pa.string())
ZERO: Final[Mapping[pa.DataType, pa.Scalar]] = {kind: pa.scalar(0, kind) for kind in (pa.int64(), pa.float64())}
