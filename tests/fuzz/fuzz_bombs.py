"""OTLP of much too much: label values by the thousand, keys and texts of a megabyte, arrays in arrays."""

import random
from collections.abc import Iterator
from itertools import count

from fuzz_otlp import TIMES
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def label_bomb(values: int, first: int = 0) -> bytes:
    """Return a metrics request with so many values of one attribute that applications may send."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="bomb")
    for number in range(first, first + values):
        point = metric.gauge.data_points.add(as_int=number)
        point.attributes.add(key="server.address").value.string_value = f"host-{number}"
    return request.SerializeToString()


def model_bomb(chance: random.Random, spans: int) -> bytes:
    """Return accounted calls, each of another service, provider, model and error."""
    request = ExportTraceServiceRequest()
    for number in range(spans):
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = f"service {number}"
        span = resource.scope_spans.add().spans.add(trace_id=chance.randbytes(16), span_id=chance.randbytes(8), kind=3)
        span.start_time_unix_nano, span.end_time_unix_nano = TIMES[5], TIMES[5] + 10**9
        for name in ("gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "error.type"):
            span.attributes.add(key=name).value.string_value = f"{name} {number}"
        span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
        span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 10
    return request.SerializeToString()


def key_bomb(chance: random.Random, keys: int, size: int) -> bytes:
    """Return a span with so many attributes, whose keys are so long."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=chance.randbytes(16), span_id=b"12345678")
    for number in range(keys):
        span.attributes.add(key=f"{number}-".ljust(size, "k")).value.int_value = number
    return request.SerializeToString()


def long_texts(size: int) -> Iterator[tuple[str, bytes]]:
    """Yield for each place that a sender may fill one request with a text so long that is there no second time."""
    text = f"{next(_TEXTS):06d}".ljust(size, "x")
    for place in ("gen_ai.request.model", "error.type", "server.address", text):
        yield "traces", _call({place: text}).SerializeToString()
    for field in ("name", "trace_state"):
        request = _call({})
        setattr(request.resource_spans[0].scope_spans[0].spans[0], field, text)
        yield "traces", request.SerializeToString()
    request = _call({})
    request.resource_spans[0].scope_spans[0].scope.name = text
    request.resource_spans[0].resource.attributes.add(key=text).value.string_value = text
    yield "traces", request.SerializeToString()
    for name, unit, key, value in (
        (text, "", "a", "b"),
        ("m", text, "a", "b"),
        ("m", "", text, "b"),
        ("m", "", "a", text),
    ):
        metrics = ExportMetricsServiceRequest()
        metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name=name, unit=unit)
        point = metric.gauge.data_points.add(as_int=1, time_unix_nano=TIMES[5])
        point.attributes.add(key=key).value.string_value = value
        yield "metrics", metrics.SerializeToString()


_TEXTS = count()


def _call(attributes: dict[str, str]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, kind=3)
    span.start_time_unix_nano, span.end_time_unix_nano = TIMES[5], TIMES[5] + 10**9
    for key, value in {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", **attributes}.items():
        span.attributes.add(key=key).value.string_value = value
    return request


def varint(number: int) -> bytes:
    """Return a protobuf varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def nested(depth: int) -> bytes:
    """Return a span whose attribute is so many arrays deep, built from the inside."""
    value = b"\x0a\x01x"
    for _ in range(depth):
        value = b"\x2a" + varint(len(inner := b"\x0a" + varint(len(value)) + value)) + inner
    pair = b"\x0a\x01k\x12" + varint(len(value)) + value
    span = b"\x0a\x10" + bytes(range(16)) + b"\x12\x08" + bytes(range(8)) + b"\x4a" + varint(len(pair)) + pair
    for number in (2, 2, 1):
        span = bytes([number << 3 | 2]) + varint(len(span)) + span
    return span
