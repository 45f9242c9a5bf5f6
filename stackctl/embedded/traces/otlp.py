"""Stored rows back to OTLP: ids, values and whole traces."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from stackctl import semconv
from stackctl.embedded.traces.schema import JSON_TEXT_ARRAYS, SCOPE_PREFIX, AttributeColumn
from stackctl.embedded.traces.session import Session

MASK: Final = 2**64 - 1
# Columns of an evaluation to the attributes of its event.
_EVALUATION: Final = {
    "name": semconv.EVALUATION_NAME,
    "score": semconv.EVALUATION_SCORE,
    "label": semconv.EVALUATION_LABEL,
    "error_type": semconv.ERROR_TYPE,
    "response_id": semconv.RESPONSE_ID,
}
Row = Mapping[str, Any]
# An event or a link of a span, as its JSON column has it.
Event = Mapping[str, Any]


def trace_id_hex(high: int, low: int) -> str:
    """Return a trace id as 32 hex digits, from its two signed halves."""
    return f"{high & MASK:016x}{low & MASK:016x}"


def span_id_hex(number: int) -> str:
    """Return a span id as 16 hex digits."""
    return f"{number & MASK:016x}"


def signed(hexadecimal: str) -> int:
    """Return 16 hex digits as the signed 64-bit number that the store keeps."""
    return int.from_bytes(bytes.fromhex(hexadecimal), "big", signed=True)


@dataclass(frozen=True)
class StoredTrace:
    """What the store has of a trace.

    Attributes:
        rows: its spans in order of their start.
        columns: attribute columns with a value in one of them.
        judged: evaluations by the span that they judge, as events.
    """

    rows: Sequence[Row]
    columns: Sequence[AttributeColumn]
    judged: Mapping[int, Sequence[Event]]

    def resources(self) -> Iterator[tuple[dict[str, Any], list[tuple[str, str, list[Row]]]]]:
        """Yield each resource's attributes, and name, version and spans of its scopes."""
        found: dict[bytes, tuple[dict[str, Any], dict[tuple[str, str], list[Row]]]] = {}
        for row in self.rows:
            resource = self._attributes(row, "resource", row["rrest"])
            key = orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)
            scopes = found.setdefault(key, (resource, {}))[1]
            scopes.setdefault((row["scope"] or "", row["scope_version"] or ""), []).append(row)
        for resource, scopes in found.values():
            yield resource, [(*scope, rows) for scope, rows in scopes.items()]

    def attributes(self, row: Row) -> dict[str, Any]:
        """Return a span's attributes."""
        return self._attributes(row, "span", row["rest"])

    def events(self, row: Row) -> list[Event]:
        """Return a span's events: its own, then the evaluations of it."""
        own: list[Event] = orjson.loads(row["events"]) if row["events"] else []
        return [*own, *self.judged.get(row["span_id"], ())]

    def links(self, row: Row) -> list[Event]:
        """Return a span's links, with ids in hex."""
        found: list[Event] = orjson.loads(row["links"]) if row["links"] else []
        return found

    def _attributes(self, row: Row, scope: str, rest: str | None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, key, text_array in self._scoped[scope]:
            value = row.get(name)
            if value is not None:
                found[key] = _array(value) if text_array else value
        return found | orjson.loads(rest) if rest else found

    @cached_property
    def _scoped(self) -> Mapping[str, Sequence[tuple[str, str, bool]]]:
        """By scope the columns' names and keys, and whether they have arrays as JSON texts."""
        return {
            scope: [(one.name, one.key, one.key in JSON_TEXT_ARRAYS) for one in self.columns if one.scope == scope]
            for scope in SCOPE_PREFIX
        }


def trace(session: Session, trace_id: str) -> StoredTrace | None:
    """Look for a trace.

    Args:
        trace_id: 32 hex digits.

    Returns:
        None where none of its spans is stored.
    """
    key = (signed(trace_id[:16]), signed(trace_id[16:]))
    rows = session.spans_of([key])
    if not rows:
        return None
    judged: dict[int, list[Event]] = defaultdict(list)
    for row in session.evaluations_of(key):
        judged[row["span_id"]].append(_evaluation(row))
    filled = {name for row in rows for name, value in row.items() if value is not None}
    return StoredTrace(rows, [column for column in session.schema.attributes() if column.name in filled], judged)


def message(found: StoredTrace) -> TracesData:
    """Return a trace as OTLP has it: by resource and scope."""
    data = TracesData()
    for attributes, scopes in found.resources():
        resource = data.resource_spans.add()
        resource.resource.attributes.extend(key_values(attributes))
        for name, version, rows in scopes:
            scope = resource.scope_spans.add()
            scope.scope.name, scope.scope.version = name, version
            scope.spans.extend(_span(found, row) for row in rows)
    return data


def any_value(value: Any) -> AnyValue:
    """Return a Python value as an OTLP value."""
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value) if -(2**63) <= value < 2**63 else AnyValue(double_value=float(value))
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list() | tuple():
            return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=key_values(value)))
    return AnyValue()


def key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Return attributes as OTLP key-values, in their order."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def key_value_json(key: str, value: Any) -> dict[str, Any]:
    """Return one attribute as protobuf's JSON has it."""
    return {"key": key, "value": value_json(value)}


def value_json(value: Any) -> dict[str, Any]:
    """Return a value as protobuf's JSON has it. The types of most values without protobuf: an answer has many."""
    match value:
        case str():
            return {"stringValue": value}
        case bool():
            return {"boolValue": value}
        case int() if -(2**63) <= value < 2**63:
            return {"intValue": str(value)}
        case float() if math.isfinite(value):
            return {"doubleValue": value}
        case list() if value:
            return {"arrayValue": {"values": [value_json(one) for one in value]}}
    return _value_json(any_value(value))


def _value_json(value: AnyValue) -> dict[str, Any]:
    match value.WhichOneof("value"):
        case "string_value":
            return {"stringValue": value.string_value}
        case "int_value":
            return {"intValue": str(value.int_value)}
        case "bool_value":
            return {"boolValue": value.bool_value}
        case "double_value" if math.isfinite(value.double_value):
            return {"doubleValue": value.double_value}
        case None:
            return {}
    return MessageToDict(value)


def _span(found: StoredTrace, row: Row) -> Span:
    start = row["start_ns"] & MASK
    span = Span(
        trace_id=bytes.fromhex(trace_id_hex(row["tid_hi"], row["tid_lo"])),
        span_id=bytes.fromhex(span_id_hex(row["span_id"])),
        parent_span_id=bytes.fromhex(span_id_hex(row["parent_id"])) if row["parent_id"] else b"",
        name=row["name"] or "",
        kind=_enum(row["kind"]),
        start_time_unix_nano=start,
        end_time_unix_nano=(start + row["dur_ns"]) & MASK,
        attributes=key_values(found.attributes(row)),
        events=map(_event, found.events(row)),
        links=map(_link, found.links(row)),
    )
    if row["status"] or row["status_msg"]:
        span.status.code = _enum(row["status"])
        span.status.message = row["status_msg"] or ""
    return span


def _enum(number: int | None) -> Any:
    """Return an enum's number, which protobuf's types want as a type of its own that does not exist at run time."""
    return number or 0


def _array(text: Any) -> Any:
    """Return the array that a JSON text column holds; a text that is no JSON array stays text."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, list) else text


def _event(event: Event) -> Span.Event:
    return Span.Event(
        name=event.get("name") or "",
        time_unix_nano=event.get("time_ns", 0),
        attributes=key_values(event.get("attributes") or {}),
    )


def _link(link: Event) -> Span.Link:
    return Span.Link(
        trace_id=bytes.fromhex(link["trace_id"]),
        span_id=bytes.fromhex(link["span_id"]),
        attributes=key_values(link.get("attributes") or {}),
    )


def _evaluation(row: Row) -> Event:
    attributes = {key: row[column] for column, key in _EVALUATION.items() if row[column] is not None}
    return {"name": semconv.EVALUATION_EVENT, "time_ns": row["time_ns"] or 0, "attributes": attributes}
