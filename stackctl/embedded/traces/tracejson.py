"""A trace as Tempo's JSON: protobuf's mapping of OTLP, ids in base64.

Written out of the stored rows: by way of protobuf messages it takes half as long as finding the trace.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stackctl.embedded.traces.otlp import MASK, Event, Row, StoredTrace, key_value_json

_KINDS: Final = {number: name for name, number in Span.SpanKind.items()}
_CODES: Final = {number: name for name, number in Status.StatusCode.items()}


def trace_json(found: StoredTrace, key: str) -> dict[str, Any]:
    """Return a trace as Tempo writes it.

    Args:
        key: what the list of resource spans is called: `batches` (v1) or `resourceSpans` (v2).
    """
    return {
        key: [
            {
                "resource": _given(attributes=_attributes(attributes)),
                "scopeSpans": [
                    {"scope": _given(name=name, version=version), "spans": [_span(found, row) for row in rows]}
                    for name, version, rows in scopes
                ],
            }
            for attributes, scopes in found.resources()
        ]
    }


def _span(found: StoredTrace, row: Row) -> dict[str, Any]:
    start, kind, status = row["start_ns"] & MASK, row["kind"], row["status"]
    span = _given(
        traceId=_id(row["tid_hi"], row["tid_lo"]),
        spanId=_id(row["span_id"]),
        parentSpanId=_id(row["parent_id"]) if row["parent_id"] else "",
        name=row["name"],
        kind=_KINDS.get(kind, kind) if kind else "",
        startTimeUnixNano=_long(start),
        endTimeUnixNano=_long((start + row["dur_ns"]) & MASK),
        attributes=_attributes(found.attributes(row)),
        events=[_event(event) for event in found.events(row)],
        links=[_link(link) for link in found.links(row)],
    )
    if status or row["status_msg"]:
        span["status"] = _given(message=row["status_msg"], code=_CODES.get(status, status) if status else "")
    return span


def _event(event: Event) -> dict[str, Any]:
    attributes = _attributes(event.get("attributes") or {})
    return _given(timeUnixNano=_long(event.get("time_ns", 0)), name=event.get("name"), attributes=attributes)


def _link(link: Event) -> dict[str, Any]:
    trace_id, span_id = (_base64(bytes.fromhex(link[name])) for name in ("trace_id", "span_id"))
    return _given(traceId=trace_id, spanId=span_id, attributes=_attributes(link.get("attributes") or {}))


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    pairs = [key_value_json(key, value) for key, value in attributes.items()]
    return [pair if pair["key"] else {"value": pair["value"]} for pair in pairs]


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not empty: protobuf's JSON leaves out what has its default value."""
    return {name: value for name, value in fields.items() if value}


def _long(number: int) -> str:
    """Return a 64-bit number as protobuf's JSON has it: as text, since JavaScript's numbers are doubles."""
    return str(number) if number else ""


def _id(*halves: int) -> str:
    return _base64(b"".join((half & MASK).to_bytes(8, "big") for half in halves))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
