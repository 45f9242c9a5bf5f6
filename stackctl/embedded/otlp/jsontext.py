"""OTLP attribute lists as JSON text, column by column.

Python is reached once per distinct value, not per value: spans of one application repeat most of theirs.
"""

import base64
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from stackctl.embedded.otlp.shape import Lists, Structs, Texts

Ints = npt.NDArray[np.int64]
# The stubs of pyarrow.compute have no form for texts beside arrays.
pc: Any = pyarrow.compute


def literal(text: str) -> Any:
    """A text scalar. Typed, since pyarrow guesses a Python value's type by an import that fails, 0.15 ms each time."""
    return pa.scalar(text, pa.string())


_NULL: Final = literal("null")
_NOTHING: Final = pa.scalar(None, pa.string())
EMPTY: Final = literal("")
_COMMA, _COLON = literal(","), literal(":")
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
    return np.repeat(np.arange(len(lists), dtype=np.int64), np.diff(lists.offsets.to_numpy()))


def objects(attributes: Lists) -> Texts:
    """One JSON object per row of a list<KeyValue> column, `{}` for an empty list."""
    elements = attributes.flatten()
    pairs = members(elements.field("key"), elements.field("value"))
    return _wrap(_joined(pairs, np.diff(attributes.offsets.to_numpy())), *_BRACES)


def objects_of(pairs: Texts, rows: Ints, count: int) -> Texts:
    """One JSON object per row from its `"key":value` texts; null for rows that have none.

    Args:
        rows: ascending row of each text.
        count: number of rows.
    """
    sizes = np.bincount(rows, minlength=count)
    return pc.if_else(pa.array(sizes > 0), _wrap(_joined(pairs, sizes), *_BRACES), _NOTHING)


def arrays_of(texts: Texts, sizes: Ints) -> Texts:
    """One JSON array per row from the texts of its elements; null for rows that have none."""
    return pc.if_else(pa.array(sizes > 0), _wrap(_joined(texts, sizes), *_BRACKETS), _NOTHING)


def members(keys: Texts, values: Structs) -> Texts:
    """`"key":value` for each element."""
    return pc.binary_join_element_wise(quoted(keys), value_texts(values), _COLON)


def spliced(*parts: Any) -> Texts:
    """Columns of text with constant pieces between them."""
    return pc.binary_join_element_wise(*(literal(p) if isinstance(p, str) else p for p in parts), EMPTY)


def value_texts(values: Structs) -> Texts:
    """JSON text of each OTLP value, `null` for absent ones.

    Raises:
        DecodeError: a nested value is no protobuf.
    """
    forms: tuple[tuple[str, Callable[[Any], Any]], ...] = (
        ("string_value", quoted),
        ("int_value", lambda column: column.cast(pa.string())),
        ("bool_value", lambda column: column.cast(pa.string())),
        ("double_value", lambda column: _per_distinct(column, json_text)),
        ("array_value", _array_texts),
        ("kvlist_value", _map_texts),
        ("bytes_value", lambda column: _per_distinct(column, _bytes_text)),
    )
    texts = [form(column) for name, form in forms if (column := values.field(name)).null_count < len(column)]
    return pc.coalesce(*texts, _NULL) if texts else pa.repeat(_NULL, len(values))


def quoted(texts: Texts) -> Texts:
    """JSON strings of a text column, null for null."""
    return _per_distinct(texts, json_text)


def _array_texts(arrays: Structs) -> Texts:
    lists = arrays.field("values")
    texts = _per_distinct(lists.flatten(), lambda raw: json_text(any_value(AnyValue.FromString(raw))))
    joined = _wrap(_joined(texts, np.diff(lists.offsets.to_numpy())), *_BRACKETS)
    return pc.if_else(arrays.is_valid(), joined, _NOTHING)


def _map_texts(maps: Structs) -> Texts:
    lists = maps.field("values")
    texts = _per_distinct(lists.flatten(), _member_text)
    joined = _wrap(_joined(texts, np.diff(lists.offsets.to_numpy())), *_BRACES)
    return pc.if_else(maps.is_valid(), joined, _NOTHING)


def _member_text(raw: bytes) -> str:
    pair = KeyValue.FromString(raw)
    return f"{json_text(pair.key)}:{json_text(any_value(pair.value))}"


def _bytes_text(raw: bytes) -> str:
    return json_text(_data_uri(raw))


def _data_uri(raw: bytes) -> str:
    return _BYTES_LEAD + base64.b64encode(raw).decode()


def _per_distinct(column: Texts, form: Callable[[Any], str]) -> Texts:
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
