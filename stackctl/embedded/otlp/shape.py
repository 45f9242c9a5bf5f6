"""The one columnar form of spans and evaluations: core columns, and how attribute columns are named.

An attribute becomes a column of its own per type (`s:<key>:<t>` of the span, `r:<key>:<t>` of the resource, t in s, i,
d, b), so files in which a key has different types unite by name. Ids are big-endian halves as signed integers:
equality, statistics and bloom filters work on integers.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa

# Arrow arrays by what they hold; the stubs of pyarrow know too little of nested types to be of help.
Texts = Any
Lists = Any
Structs = Any
# Whether the texts of span attributes of a key are of any use to whoever reads spans of some instrumentation scopes.
# Those of other keys are seen to be texts, and not kept: their column has the empty text for each, so that it still
# tells which spans have the attribute. The answer for a key and scopes is remembered, so it is always the same.
Reads = Callable[[str, frozenset[str]], bool]

_CORE: list[tuple[str, pa.DataType]] = [
    ("tid_hi", pa.int64()),
    ("tid_lo", pa.int64()),
    ("span_id", pa.int64()),
    ("parent_id", pa.int64()),  # 0: a root
    ("start_ns", pa.int64()),
    ("dur_ns", pa.int64()),  # negative where a span says that it ended before it began
    ("arrival_ms", pa.int64()),
    ("name", pa.string()),
    ("kind", pa.int8()),  # OTLP's SpanKind
    ("status", pa.int8()),  # OTLP's StatusCode: 0 unset, 1 ok, 2 error
    ("status_msg", pa.string()),
    ("scope", pa.string()),
    ("scope_version", pa.string()),
    ("events", pa.string()),  # JSON array of {name, time_ns, attributes}, or null
    ("links", pa.string()),  # JSON array of {trace_id, span_id, attributes}, ids in hex, or null
    ("rest", pa.string()),  # JSON object of span attributes that have no column, or null
    ("rrest", pa.string()),  # the same of the resource
]
CORE: Final = pa.schema(_CORE)

_EVALUATION: list[tuple[str, pa.DataType]] = [
    ("tid_hi", pa.int64()),
    ("tid_lo", pa.int64()),
    ("span_id", pa.int64()),
    ("time_ns", pa.int64()),
    ("arrival_ms", pa.int64()),
    ("name", pa.string()),
    ("score", pa.float64()),
    ("label", pa.string()),
    ("error_type", pa.string()),
    ("response_id", pa.string()),
]
EVALUATION: Final = pa.schema(_EVALUATION)

# The year 2116: a later time is nonsense, which counts as that. So no sum of two times in a query overflows.
LATEST_NS: Final = 2**62
# How many kinds and status codes OTLP has; a number beyond is the first, which says nothing.
KINDS: Final = 6
STATUSES: Final = 3

SCALARS: Final = {"s": pa.string(), "i": pa.int64(), "d": pa.float64(), "b": pa.bool_()}

# Attribute columns of one decode; SDKs stop at 128 attributes a span. What the store keeps is bounded per segment.
MAX_DECODED_COLUMNS: Final = 1024
# Places in those columns: 3 MB of spans that share no key would be 200 million, three gigabytes.
_MAX_PLACES: Final = 16_000_000


def all_are_read(_key: str, _scopes: frozenset[str]) -> bool:
    """For readers that want every text."""
    return True


def most_columns(rows: int) -> int:
    """How many attribute columns so many rows may have, of spans and of resources each."""
    return min(MAX_DECODED_COLUMNS, _MAX_PLACES // max(rows, 1))


def column_name(prefix: str, key: str, kind: str) -> str:
    """Column of an attribute: prefix `s` or `r`, kind one of `SCALARS`."""
    return f"{prefix}:{key}:{kind}"


def empty(schema: pa.Schema) -> pa.Table:
    """A table without rows."""
    return schema.empty_table()


def unite(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables of different attributes under one another; an empty one of `schema` for none."""
    if not tables:
        return empty(schema)
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default").combine_chunks()
