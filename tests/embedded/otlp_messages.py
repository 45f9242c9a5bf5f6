"""OTLP requests for tests, built field by field."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

TRACE_ID = bytes(range(1, 17))
SPAN_ID = bytes(range(1, 9))
START_NS = 1_700_000_000_000_000_000


def any_value(value: Any) -> AnyValue:
    """Return a Python value in OTLP's form; None is a value without content."""
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case Mapping():
            found = AnyValue()
            found.kvlist_value.SetInParent()
            put(found.kvlist_value.values, value)
            return found
        case _:
            found = AnyValue()
            found.array_value.SetInParent()
            found.array_value.values.extend(any_value(item) for item in value)
            return found


def put(pairs: Any, attributes: Mapping[str, Any]) -> None:
    """Append attributes to a list of KeyValue."""
    for key, value in attributes.items():
        pair = pairs.add()
        pair.key = key
        pair.value.CopyFrom(any_value(value))


def span_request(
    spans: int = 1,
    attributes: Mapping[str, Any] | None = None,
    resource: Mapping[str, Any] | None = None,
    first_id: int = 1,
    **fields: Any,
) -> ExportTraceServiceRequest:
    """Return a request of spans with ids that count up from `first_id`; `fields` are set on each."""
    request = ExportTraceServiceRequest()
    resources = request.resource_spans.add()
    put(resources.resource.attributes, {"service.name": "shop"} | dict(resource or {}))
    scope = resources.scope_spans.add()
    scope.scope.name, scope.scope.version = "shop.calls", "1.2"
    for number in range(first_id, first_id + spans):
        span = scope.spans.add(trace_id=TRACE_ID, span_id=number.to_bytes(8, "big"), name="chat gpt-4o")
        span.start_time_unix_nano, span.end_time_unix_nano = START_NS, START_NS + 1_000_000_000
        put(span.attributes, attributes or {})
        for name, value in fields.items():
            setattr(span, name, value)
    return request


def call_request(spans: int = 1, first_id: int = 1) -> bytes:
    """Return a serialised request of accounted inference calls."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
        "server.address": "api.openai.com",
    }
    return span_request(spans, attributes, first_id=first_id, kind=3).SerializeToString()


def log_request(*records: Mapping[str, Any], event: str = "gen_ai.evaluation.result") -> bytes:
    """Return a serialised request of log records with these attributes."""
    request = ExportLogsServiceRequest()
    resources = request.resource_logs.add()
    put(resources.resource.attributes, {"service.name": "shop"})
    scope = resources.scope_logs.add()
    for attributes in records:
        record = scope.log_records.add(event_name=event, trace_id=TRACE_ID, span_id=SPAN_ID, time_unix_nano=START_NS)
        put(record.attributes, attributes)
    return request.SerializeToString()
