"""Hostile OTLP: real requests with broken bytes, well-formed ones with absurd contents, JSON of both kinds."""

import gzip
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

CAPTURES = Path(__file__).parents[1] / "captures"
KINDS = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_LARGEST_SEED = 64 * 1024

# Texts that something may trip over: controls, other alphabets, code, paths, and the names that the store itself uses.
STRINGS = (
    "", " ", "\0", "\n\r\t", "a\0b", "ä€😀", "\u202eabc", "\ufeff", "\u0301" * 50, "'; DROP TABLE spans; --", '"', "\\",
    "../../../etc/passwd", "%2e%2e%2f", "${jndi:ldap://x}", "{{7*7}}", "{__name__=\"x\"}", "-1", "NaN", "1e999", "null",
    "true", "[1,2", '{"a":', "x" * 5000, "tid_hi", "rest", "events", "s:a:s", "r:service.name:s", "a:i", ":",
    "__name__", "le", "quantile", "job", "alertname", "gen_ai.operation.name", "gen_ai.usage.input_tokens",
    "gen_ai.request.model", "gen_ai.response.finish_reasons", "service.name", "gen_ai.evaluation.name",
    "2026-13-45T99:99:99Z", "0x1F", "٣", "<script>alert(1)</script>", "SELECT * FROM read_parquet('/etc/passwd')",
    "chat", "openai", "gpt-4o",
)  # fmt: skip
KEYS = (
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model", "gen_ai.response.model",
    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.reasoning.output_tokens", "gen_ai.response.finish_reasons", "gen_ai.response.id", "server.address",
    "error.type", "llm.token_count.prompt", "llm.usage.total_tokens", "traceloop.span.kind", "openinference.span.kind",
    "langfuse.observation.usage_details", "ai.usage.tokens", "gen_ai.evaluation.name", "gen_ai.evaluation.score.value",
    "gen_ai.evaluation.score.label", "gen_ai.server.time_to_first_token", "gen_ai.prompt", "input.value",
    "service.name", "deployment.environment.name", "session.id",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2**31, -(2**31), 2**63 - 1, -(2**63), 2**53 + 1, 100)
FLOATS = (0.0, -0.0, 1.5, -1.5, float("nan"), float("inf"), float("-inf"), 5e-324, 1.8e308, 1e-9)
TIMES = (0, 1, 2**63 - 1, 2**63, 2**64 - 1, 1_700_000_000_000_000_000, 1_800_000_000_000_000_000, 10**9)


def seeds() -> dict[str, list[bytes]]:
    """Return the captured requests by signal."""
    found: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    for path in sorted(CAPTURES.glob("*/*.pb")):
        if path.stat().st_size <= _LARGEST_SEED:
            found[path.name.split(".")[-2]].append(path.read_bytes())
    return found


# --- bytes ------------------------------------------------------------------------------------------------------------
def mutated(chance: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return broken bytes: one to four mutations behind one another."""
    raw = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if not raw:
            return bytes(raw)
        chance.choice(_MUTATIONS)(chance, raw, others)
    return bytes(raw)


def _flip(chance: random.Random, raw: bytearray, _: list[bytes]) -> None:
    for _ in range(chance.randint(1, 16)):
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)


def _truncate(chance: random.Random, raw: bytearray, _: list[bytes]) -> None:
    del raw[chance.randrange(len(raw)) :]


def _splice(chance: random.Random, raw: bytearray, others: list[bytes]) -> None:
    other = chance.choice(others)
    at = chance.randrange(len(raw))
    raw[at:] = other[chance.randrange(len(other)) :] if other else b""


def _remove(chance: random.Random, raw: bytearray, _: list[bytes]) -> None:
    at = chance.randrange(len(raw))
    del raw[at : at + chance.randint(1, 40)]


def _repeat(chance: random.Random, raw: bytearray, _: list[bytes]) -> None:
    at = chance.randrange(len(raw))
    raw[at:at] = raw[at : at + chance.randint(1, 200)] * chance.randint(1, 20)


def _giant_length(chance: random.Random, raw: bytearray, _: list[bytes]) -> None:
    at = chance.randrange(len(raw))
    raw[at : at + 1] = chance.choice(
        (b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\xff" * 12, b"\x80\x80\x80\x80\x08")
    )


def _noise(chance: random.Random, raw: bytearray, _: list[bytes]) -> None:
    at = chance.randrange(len(raw))
    raw[at:at] = chance.randbytes(chance.randint(1, 64))


def _group_tags(chance: random.Random, raw: bytearray, _: list[bytes]) -> None:
    at = chance.randrange(len(raw))
    raw[at:at] = chance.choice((b"\x0b", b"\x0c", b"\x0a")) * chance.randint(1, 300)  # groups and nested messages


_MUTATIONS: tuple[Callable[[random.Random, bytearray, list[bytes]], None], ...] = (
    _flip, _truncate, _splice, _remove, _repeat, _giant_length, _noise, _group_tags,
)  # fmt: skip


# --- contents ---------------------------------------------------------------------------------------------------------
def absurd(chance: random.Random, kind: str) -> Any:
    """Return a well-formed request whose contents make no sense."""
    request = KINDS[kind]()
    {"traces": _spans, "metrics": _metrics, "logs": _records}[kind](chance, request)
    return request


def text(chance: random.Random) -> str:
    """Return a hostile text."""
    if chance.random() < 0.0005:
        return chance.choice(STRINGS) + "x" * chance.choice((10_000, 100_000, 1_000_000))
    return chance.choice(STRINGS)


def key(chance: random.Random) -> str:
    """Return a known or hostile attribute key."""
    return chance.choice(KEYS) if chance.random() < 0.6 else text(chance)


def _value(chance: random.Random, into: Any, depth: int = 0) -> None:
    match chance.randrange(9):
        case 0 | 1:
            into.string_value = text(chance)
        case 2:
            into.int_value = chance.choice(NUMBERS)
        case 3:
            into.double_value = chance.choice(FLOATS)
        case 4:
            into.bool_value = chance.random() < 0.5
        case 5:
            into.bytes_value = chance.randbytes(chance.choice((0, 1, 16, 1000)))
        case 6 if depth < 4:
            for _ in range(chance.randint(0, 4)):
                _value(chance, into.array_value.values.add(), depth + 1)
        case 7 if depth < 4:
            for _ in range(chance.randint(0, 4)):
                pair = into.kvlist_value.values.add(key=key(chance))
                _value(chance, pair.value, depth + 1)
        case 8 if chance.random() < 0.05:
            for _ in range(chance.choice((20, 60, 95, 150))):
                into = into.array_value.values.add()


def _attributes(chance: random.Random, into: Any) -> None:
    many = chance.random()
    count = 10_000 if many < 0.0001 else 300 if many < 0.002 else chance.randint(0, 12)
    for number in range(count):
        pair = into.add(key=key(chance) if count < 100 else f"key {number}")
        _value(chance, pair.value)


def _id(chance: random.Random, size: int) -> bytes:
    odd = chance.random()
    if odd < 0.1:
        return chance.randbytes(chance.choice((0, 1, size - 1, size + 1, 100)))
    return bytes(size) if odd < 0.15 else b"\xff" * size if odd < 0.2 else chance.randbytes(size)


def _resource(chance: random.Random, into: Any) -> None:
    _attributes(chance, into.resource.attributes)
    into.schema_url = text(chance)


def _scope(chance: random.Random, into: Any) -> None:
    into.scope.name, into.scope.version = text(chance), text(chance)
    _attributes(chance, into.scope.attributes)


def _spans(chance: random.Random, request: Any) -> None:
    for _ in range(chance.randint(0, 2)):
        resource = request.resource_spans.add()
        _resource(chance, resource)
        for _ in range(chance.randint(0, 2)):
            scope = resource.scope_spans.add()
            _scope(chance, scope)
            for _ in range(chance.randint(0, 4)):
                _span(chance, scope.spans.add())


def _span(chance: random.Random, span: Any) -> None:
    span.trace_id, span.span_id = _id(chance, 16), _id(chance, 8)
    span.parent_span_id = _id(chance, 8) if chance.random() < 0.5 else b""
    span.name, span.trace_state = text(chance), text(chance)
    span.kind = chance.choice((0, 1, 3, 5, 99, -1))
    span.start_time_unix_nano, span.end_time_unix_nano = chance.choice(TIMES), chance.choice(TIMES)
    span.status.code, span.status.message = chance.choice((0, 1, 2, 77, -1)), text(chance)
    span.flags, span.dropped_attributes_count = 2**32 - 1, 2**32 - 1
    _attributes(chance, span.attributes)
    for _ in range(100 if chance.random() < 0.01 else chance.choice((0, 0, 1, 3))):
        event = span.events.add(name=text(chance), time_unix_nano=chance.choice(TIMES))
        _attributes(chance, event.attributes)
    for _ in range(chance.choice((0, 0, 1, 3))):
        link = span.links.add(trace_id=_id(chance, 16), span_id=_id(chance, 8), trace_state=text(chance))
        _attributes(chance, link.attributes)


def _records(chance: random.Random, request: Any) -> None:
    resource = request.resource_logs.add()
    _resource(chance, resource)
    scope = resource.scope_logs.add()
    _scope(chance, scope)
    for _ in range(chance.randint(0, 4)):
        event = "gen_ai.evaluation.result" if chance.random() < 0.7 else text(chance)
        record = scope.log_records.add(event_name=event, time_unix_nano=chance.choice(TIMES), severity_number=99)
        record.trace_id, record.span_id = _id(chance, 16), _id(chance, 8)
        _value(chance, record.body)
        _attributes(chance, record.attributes)


def _metrics(chance: random.Random, request: Any) -> None:
    resource = request.resource_metrics.add()
    _resource(chance, resource)
    scope = resource.scope_metrics.add()
    _scope(chance, scope)
    for _ in range(chance.randint(0, 3)):
        name = text(chance) if chance.random() < 0.5 else f"fuzz.{chance.randrange(20)}"
        metric = scope.metrics.add(name=name, unit=text(chance), description=text(chance))
        form = chance.choice(("gauge", "sum", "histogram", "summary", "exponential_histogram"))
        data = getattr(metric, form)
        if form in ("sum", "histogram", "exponential_histogram"):
            data.aggregation_temporality = chance.choice((0, 1, 2, 9))
        if form == "sum":
            data.is_monotonic = chance.random() < 0.5
        for _ in range(chance.randint(0, 4)):
            _point(chance, form, data.data_points.add())


def _point(chance: random.Random, form: str, point: Any) -> None:
    point.start_time_unix_nano, point.time_unix_nano = chance.choice(TIMES), chance.choice(TIMES)
    point.flags = chance.choice((0, 0, 1, 2**32 - 1))
    _attributes(chance, point.attributes)
    if form in ("gauge", "sum"):
        if chance.random() < 0.5:
            point.as_int = chance.choice(NUMBERS)
        else:
            point.as_double = chance.choice(FLOATS)
        return
    point.count, point.sum = chance.choice((0, 1, 2**64 - 1)), chance.choice(FLOATS)
    if form == "histogram":
        point.explicit_bounds.extend(chance.choices(FLOATS, k=chance.randint(0, 6)))
        point.bucket_counts.extend(chance.choices((0, 1, 2**64 - 1), k=chance.randint(0, 8)))
    elif form == "summary":
        for _ in range(chance.randint(0, 4)):
            point.quantile_values.add(quantile=chance.choice(FLOATS), value=chance.choice(FLOATS))
    else:
        point.scale = chance.choice((-(2**31), 0, 20, 2**31 - 1))
        point.positive.bucket_counts.extend([1] * chance.choice((0, 1, 500)))


# --- HTTP -------------------------------------------------------------------------------------------------------------
def requests(chance: random.Random, count: int) -> Iterator[tuple[str, str, bytes, dict[str, str]]]:
    """Yield so many requests: what it is, the signal, the body and its headers."""
    given = seeds()
    for _ in range(count):
        kind = chance.choice(("traces", "traces", "metrics", "logs"))
        way = chance.random()
        headers = {"content-type": "application/x-protobuf"}
        if way < 0.45:
            what, body = "broken bytes", mutated(chance, chance.choice(given[kind]), given[chance.choice(list(given))])
        elif way < 0.8:
            what, body = "absurd contents", absurd(chance, kind).SerializeToString()
        elif way < 0.85:
            what, body = "broken absurd", mutated(chance, absurd(chance, kind).SerializeToString(), given[kind])
        else:
            what, body = _json(chance, kind, given[kind])
            headers["content-type"] = "application/json"
        if chance.random() < 0.1:
            what, body = f"{what}, gzip", gzip.compress(body, 1)
            headers["content-encoding"] = "gzip"
            if chance.random() < 0.5:
                body = mutated(chance, body, given[kind])
        yield what, kind, body, headers


def _json(chance: random.Random, kind: str, given: list[bytes]) -> tuple[str, bytes]:
    """Return JSON: odd but well-formed, broken, or absurd in itself."""
    way = chance.random()
    if way < 0.15:
        deep = chance.choice((10, 1000, 100_000))
        return "deep JSON", chance.choice((b"[", b'{"a":', b'{"resourceSpans":[')) * deep
    if way < 0.3:
        return "odd JSON", chance.choice(_ODD_JSON)
    try:
        body = MessageToJson(
            absurd(chance, kind) if way < 0.8 else KINDS[kind].FromString(chance.choice(given))
        ).encode()
    except RecursionError:  # protobuf's writer, not ours
        return "odd JSON", chance.choice(_ODD_JSON)
    if chance.random() < 0.3:
        return "JSON", body
    raw = bytearray(body)
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(raw))
        raw[at : at + chance.randint(0, 3)] = chance.choice(_JSON_PIECES)
    return "broken JSON", bytes(raw)


_JSON_PIECES = (
    b"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"null",
    b"1e999",
    b"-",
    b"\xff",
    b"\\ud800",
    b"0" * 400,
    b"true",
)
_ODD_JSON = (
    b"", b"null", b"[]", b"1", b'"x"', b"{}", b"\xef\xbb\xbf{}", b"NaN", b'{"resourceSpans":null}',
    b'{"resourceSpans":{}}', b'{"resourceSpans":[null]}', b'{"resourceSpans":[1]}',
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":5}]}]}]}',
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz","spanId":"zz"}]}]}]}',
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"-1"}]}]}]}',
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1e300}]}]}]}',
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_NONSENSE"}]}]}]}',
    b'{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":{"intValue":"99999999999999999999"}}]}}]}',
    b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[{"asInt":"x"}]}}]}]}]}',
    b'{"resourceSpans":[],"resourceSpans":[]}', b'{"' + b"k" * 100_000 + b'":1}', b"9" * 100_000,
)  # fmt: skip
