"""Stored rows back to OTLP: ids, values and whole traces, as protobuf messages and as Tempo's JSON of them."""

import base64
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from stackctl import semconv
from stackctl.embedded.traces.schema import JSON_TEXT_ARRAYS, AttributeColumn
from stackctl.embedded.traces.session import Session

_MASK: Final = 2**64 - 1
# Columns of an evaluation to the attributes of its event.
_EVALUATION: Final = {
    "name": semconv.EVALUATION_NAME,
    "score": semconv.EVALUATION_SCORE,
    "label": semconv.EVALUATION_LABEL,
    "error_type": semconv.ERROR_TYPE,
    "response_id": semconv.RESPONSE_ID,
}
_KINDS: Final = {number: name for name, number in Span.SpanKind.items()}
_CODES: Final = {number: name for name, number in Status.StatusCode.items()}
Row = Mapping[str, Any]


def trace_id_hex(high: int, low: int) -> str:
    """Return a trace id as 32 hex digits, from its two signed halves."""
    return f"{high & _MASK:016x}{low & _MASK:016x}"


def span_id_hex(number: int) -> str:
    """Return a span id as 16 hex digits."""
    return f"{number & _MASK:016x}"


def signed(hexadecimal: str) -> int:
    """Return 16 hex digits as the signed 64-bit number that the store keeps."""
    return int.from_bytes(bytes.fromhex(hexadecimal), "big", signed=True)


def trace(session: Session, trace_id: str) -> TracesData | None:
    """Put a trace together.

    Args:
        trace_id: 32 hex digits.

    Returns:
        its spans by resource and scope, evaluations as events of the spans that they judge; None where none is stored.
    """
    key = (signed(trace_id[:16]), signed(trace_id[16:]))
    rows = session.spans_of([key])
    if not rows:
        return None
    events: dict[int, list[Span.Event]] = defaultdict(list)
    for row in session.evaluations_of(key):
        events[row["span_id"]].append(_evaluation(row))
    return _message(rows, list(session.schema.attributes()), events)


def trace_json(data: TracesData, key: str) -> dict[str, Any]:
    """Return a trace as Tempo's JSON: protobuf's mapping, ids in base64.

    Written out, since protobuf's own `MessageToDict` takes longer than finding the trace.

    Args:
        key: what the list of resource spans is called: `batches` (v1) or `resourceSpans` (v2).
    """
    return {
        key: [
            {
                "resource": _given(attributes=_attributes_json(resource.resource.attributes)),
                "scopeSpans": [
                    {
                        "scope": _given(name=scope.scope.name, version=scope.scope.version),
                        "spans": [_span_json(span) for span in scope.spans],
                    }
                    for scope in resource.scope_spans
                ],
            }
            for resource in data.resource_spans
        ]
    }


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
    """Return one attribute as protobuf's JSON has it. The types of most values without protobuf: a search has many."""
    match value:
        case str():
            return {"key": key, "value": {"stringValue": value}}
        case bool():
            return {"key": key, "value": {"boolValue": value}}
        case int() if -(2**63) <= value < 2**63:
            return {"key": key, "value": {"intValue": str(value)}}
        case float() if math.isfinite(value):
            return {"key": key, "value": {"doubleValue": value}}
    return {"key": key, "value": _value_json(any_value(value))}


def _span_json(span: Span) -> dict[str, Any]:
    events = [
        _given(
            timeUnixNano=_long(event.time_unix_nano),
            name=event.name,
            attributes=_attributes_json(event.attributes),
        )
        for event in span.events
    ]
    links = [
        _given(
            traceId=_base64(link.trace_id), spanId=_base64(link.span_id), attributes=_attributes_json(link.attributes)
        )
        for link in span.links
    ]
    found = _given(
        traceId=_base64(span.trace_id),
        spanId=_base64(span.span_id),
        parentSpanId=_base64(span.parent_span_id),
        name=span.name,
        kind=_KINDS[span.kind] if span.kind else "",
        startTimeUnixNano=_long(span.start_time_unix_nano),
        endTimeUnixNano=_long(span.end_time_unix_nano),
        attributes=_attributes_json(span.attributes),
        events=events,
        links=links,
    )
    if span.HasField("status"):
        found["status"] = _given(message=span.status.message, code=_CODES[span.status.code] if span.status.code else "")
    return found


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not empty: protobuf's JSON leaves out what has its default value."""
    return {name: value for name, value in fields.items() if value}


def _long(number: int) -> str:
    """Return a 64-bit number as protobuf's JSON has it: as text, since JavaScript's numbers are doubles."""
    return str(number) if number else ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _attributes_json(attributes: Iterable[KeyValue]) -> list[dict[str, Any]]:
    return [_given(key=pair.key) | {"value": _value_json(pair.value)} for pair in attributes]


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


def _message(
    rows: Sequence[Row], columns: Sequence[AttributeColumn], events: Mapping[int, list[Span.Event]]
) -> TracesData:
    filled = {name for row in rows for name, value in row.items() if value is not None}
    used = [column for column in columns if column.name in filled]
    resources: dict[bytes, ResourceSpans] = {}
    scopes: dict[tuple[bytes, str, str], ScopeSpans] = {}
    for row in rows:
        resource = _attributes(row, used, "resource", row["rrest"])
        key = orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)
        if key not in resources:
            resources[key] = ResourceSpans()
            resources[key].resource.attributes.extend(key_values(resource))
        scope = (key, row["scope"] or "", row["scope_version"] or "")
        if scope not in scopes:
            scopes[scope] = resources[key].scope_spans.add()
            scopes[scope].scope.name, scopes[scope].scope.version = scope[1:]
        scopes[scope].spans.append(_span(row, used, events.get(row["span_id"], ())))
    return TracesData(resource_spans=resources.values())


def _span(row: Row, columns: Sequence[AttributeColumn], judged: Iterable[Span.Event]) -> Span:
    start = row["start_ns"] & _MASK
    span = Span(
        trace_id=bytes.fromhex(trace_id_hex(row["tid_hi"], row["tid_lo"])),
        span_id=bytes.fromhex(span_id_hex(row["span_id"])),
        parent_span_id=bytes.fromhex(span_id_hex(row["parent_id"])) if row["parent_id"] else b"",
        name=row["name"] or "",
        kind=_enum(row["kind"]),
        start_time_unix_nano=start,
        end_time_unix_nano=(start + row["dur_ns"]) & _MASK,
        attributes=key_values(_attributes(row, columns, "span", row["rest"])),
        events=[*map(_event, orjson.loads(row["events"] or "[]")), *judged],
        links=map(_link, orjson.loads(row["links"] or "[]")),
    )
    if row["status"] or row["status_msg"]:
        span.status.code = _enum(row["status"])
        span.status.message = row["status_msg"] or ""
    return span


def _enum(number: int | None) -> Any:
    """Return an enum's number, which protobuf's types want as a type of its own that does not exist at run time."""
    return number or 0


def _attributes(row: Row, columns: Sequence[AttributeColumn], scope: str, rest: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column in columns:
        value = row.get(column.name) if column.scope == scope else None
        if value is not None:
            found[column.key] = _array(value) if column.key in JSON_TEXT_ARRAYS else value
    return found | (orjson.loads(rest) if rest else {})


def _array(text: Any) -> Any:
    """Return the array that a JSON text column holds; a text that is no JSON array stays text."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, list) else text


def _event(event: Mapping[str, Any]) -> Span.Event:
    return Span.Event(
        name=event.get("name") or "",
        time_unix_nano=event.get("time_ns", 0),
        attributes=key_values(event.get("attributes") or {}),
    )


def _link(link: Mapping[str, Any]) -> Span.Link:
    return Span.Link(
        trace_id=bytes.fromhex(link["trace_id"]),
        span_id=bytes.fromhex(link["span_id"]),
        attributes=key_values(link.get("attributes") or {}),
    )


def _evaluation(row: Row) -> Span.Event:
    attributes = {key: row[column] for column, key in _EVALUATION.items() if row[column] is not None}
    return Span.Event(
        name=semconv.EVALUATION_EVENT, time_unix_nano=row["time_ns"] or 0, attributes=key_values(attributes)
    )
