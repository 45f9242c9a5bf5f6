"""Spans for the tests of the columns: made by hand as OTLP, or read from the captures, and decoded as ingest does."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stackctl import semconv
from stackctl.embedded.columns import Pipeline
from stackctl.embedded.otlp import decode
from stackctl.stack import EngineConfig

CAPTURES = Path(__file__).resolve().parent.parent / "captures"
TRUTH: dict[str, Any] = json.loads((CAPTURES / "truth.json").read_bytes())["captures"]
HERE = sorted(TRUTH)
SIMULATOR = {"127.0.0.1": "openai", "localhost": "openai"}
CONFIG = EngineConfig("unused", price_hosts=SIMULATOR)

CHAT = {
    semconv.OPERATION: "chat",
    semconv.PROVIDER: "openai",
    semconv.REQUEST_MODEL: "gpt-4o-mini",
    semconv.SERVER_ADDRESS: "api.openai.com",
    semconv.INPUT_TOKENS: 1200,
    semconv.OUTPUT_TOKENS: 57,
}

START_NS = 1_795_000_000_000_000_000


def captured(name: str) -> ExportTraceServiceRequest:
    """Return the trace request of a capture."""
    return ExportTraceServiceRequest.FromString((CAPTURES / f"{name}.traces.pb").read_bytes())


def decoded(*requests: ExportTraceServiceRequest) -> pa.Table:
    """Return the spans of requests as ingest decodes them."""
    return decode.spans([request.SerializeToString() for request in requests], arrival_ms=START_NS // 1_000_000)


def request_of(
    *spans: Mapping[str, Any],
    scope: str = "test.scope",
    resource: Mapping[str, Any] | None = None,
    name: str = "chat gpt-4o-mini",
    seconds: float = 1.0,
    events: Sequence[tuple[str, float, Mapping[str, Any]]] = (),
    failed: bool = False,
) -> ExportTraceServiceRequest:
    """Return a request of one scope whose spans have these attributes.

    Args:
        events: name, seconds after the start, attributes; on every span.
        failed: give every span the status of an error.
    """
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(_pairs(resource or {"service.name": "shop"}))
    scoped = group.scope_spans.add()
    scoped.scope.name = scope
    for number, attributes in enumerate(spans, start=1):
        span = scoped.spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name=name,
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=START_NS,
            end_time_unix_nano=START_NS + round(seconds * 1e9),
        )
        span.attributes.extend(_pairs(attributes))
        if failed:
            span.status.code = Status.STATUS_CODE_ERROR
        for event, offset, values in events:
            span.events.add(name=event, time_unix_nano=START_NS + round(offset * 1e9), attributes=_pairs(values))
    return request


def spans_of(*spans: Mapping[str, Any], **options: Any) -> pa.Table:
    """Return decoded spans with these attributes; options as of `request_of`."""
    return decoded(request_of(*spans, **options))


def one(attributes: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Process one span with the attributes and return it; options as of `request_of`."""
    (span,) = Pipeline(CONFIG).process(spans_of(attributes, **options)).to_pylist()
    return span


def _pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any(value)) for key, value in attributes.items()]


def _any(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case list():
            found = AnyValue()
            found.array_value.values.extend(map(_any, value))
            return found
        case dict():
            found = AnyValue()
            found.kvlist_value.values.extend(_pairs(value))
            return found
    raise TypeError(type(value))
