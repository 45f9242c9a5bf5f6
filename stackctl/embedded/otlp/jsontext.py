"""OTLP attribute lists as JSON text, column by column.

Python is reached once per distinct value, not per value: spans of one application repeat most of theirs.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from stackctl.embedded.arrays import repeated, take
from stackctl.embedded.otlp.shape import Lists, Texts

Ints = npt.NDArray[np.int64]
# The stubs of pyarrow.compute have no form for texts beside arrays.
pc: Any = pyarrow.compute


def literal(text: str) -> Any:
    """A text scalar. Typed, since pyarrow guesses a Python value's type by an import that fails, 0.15 ms each time."""
    return pa.scalar(text, pa.string())


_NOTHING: Final = pa.scalar(None, pa.string())
EMPTY: Final = literal("")
_COMMA: Final = literal(",")
_BRACES: Final = (literal("{"), literal("}"))
_BRACKETS: Final = (literal("["), literal("]"))
# Before bytes as text, as a data URI has it: without, redaction would take them for an identifier.
_BYTES_LEAD: Final = "data:;base64,"


def any_value(value: AnyValue) -> Any:
    """Python form of an OTLP value: bytes become a data URI; absent is None."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [any_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return {item.key: any_value(item.value) for item in value.kvlist_value.values}
        case "bytes_value":
            return _data_uri(value.bytes_value)
        case kind:
            return getattr(value, kind)


def json_text(value: object) -> str:
    """Compact JSON; numbers that JSON does not know (NaN, infinities) become null."""
    return orjson.dumps(value).decode()


def parents(lists: Lists) -> Ints:
    """For every element of a list column, the row that holds it."""
    if len(lists) == 1:
        return np.zeros(len(lists.values), np.int64)
    offsets = lists.offsets.to_numpy()
    return np.arange(len(lists), dtype=np.int64).repeat(offsets[1:] - offsets[:-1])


def objects(attributes: Lists) -> Texts:
    """One JSON object per row of a column of lists of serialised KeyValues, `{}` for an empty list.

    Raises:
        DecodeError: one is no KeyValue.
    """
    pairs = _per_distinct(attributes.flatten(), lambda raw: _member_text(KeyValue.FromString(raw)))
    return _wrap(_joined(pairs, np.diff(attributes.offsets.to_numpy())), *_BRACES)


def objects_of(pairs: list[str | None], codes: Ints, rows: Ints, count: int) -> Texts:
    """One JSON object per row from its `"key":value` texts; null for rows that have none.

    Args:
        pairs: distinct texts, None for what is no member.
        codes: of each member its place among `pairs`.
        rows: ascending row of each member.
        count: number of rows.
    """
    if None in pairs:
        there = np.array([pair is not None for pair in pairs])[codes]
        codes, rows = codes[there], rows[there]
    if (rows[1:] == rows[:-1]).any():
        sizes = np.bincount(rows, minlength=count)
        members = take(_texts(pairs), codes)
        return pc.if_else(pa.array(sizes > 0), _wrap(_joined(members, sizes), *_BRACES), _NOTHING)
    if len(pairs) == 1:
        there = np.zeros(count, bool)
        there[rows] = True
        return repeated(f"{{{pairs[0]}}}", there)
    places = np.full(count, -1)
    places[rows] = codes
    return take(_texts([pair and f"{{{pair}}}" for pair in pairs]), places, places < 0)


def arrays_of(texts: Texts, sizes: Ints) -> Texts:
    """One JSON array per row from the texts of its elements; null for rows that have none."""
    return pc.if_else(pa.array(sizes > 0), _wrap(_joined(texts, sizes), *_BRACKETS), _NOTHING)


def member(pair: KeyValue) -> str | None:
    """`"key":value`; None for one without a value, which is no attribute."""
    return None if pair.value.WhichOneof("value") is None else _member_text(pair)


def spliced(*parts: Any) -> Texts:
    """Columns of text with constant pieces between them."""
    return pc.binary_join_element_wise(*(literal(p) if isinstance(p, str) else p for p in parts), EMPTY)


def quoted(texts: Texts) -> Texts:
    """JSON strings of a text column, null for null."""
    return _per_distinct(texts, json_text)


def _texts(texts: Iterable[str | None]) -> Texts:
    return pa.array(texts, pa.string())


def _member_text(pair: KeyValue) -> str:
    return f"{json_text(pair.key)}:{json_text(any_value(pair.value))}"


def _data_uri(raw: bytes) -> str:
    return _BYTES_LEAD + base64.b64encode(raw).decode()


def _per_distinct(column: Texts, form: Callable[[Any], str | None]) -> Texts:
    """Apply a Python function once per distinct value; null stays null."""
    encoded = column.dictionary_encode()
    formed = pa.array([form(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return formed.take(encoded.indices)


def _joined(texts: Texts, sizes: Ints) -> Texts:
    """Texts joined by commas, `sizes` of them per row."""
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts), _COMMA)


def _wrap(texts: Texts, opening: Any, closing: Any) -> Texts:
    return pc.binary_join_element_wise(opening, texts, closing, EMPTY)
