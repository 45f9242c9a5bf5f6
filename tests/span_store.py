"""A real span store with given spans, and a real Tempo API server over it, for tests of reading."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.types import ASGIApp

from stackctl.embedded.otlp import decode
from stackctl.embedded.store.frame import Frame
from stackctl.embedded.store.writer import SealLimits, SpanStore
from stackctl.embedded.traces.otlp import key_values

BASE_NS = 1_790_000_000_000_000_000  # every stored span starts at or after this moment
ARRIVAL_MS = BASE_NS // 1_000_000


@dataclass(frozen=True)
class Given:
    """A span to store: small numbers for ids, times in milliseconds after BASE_NS."""

    trace: int
    span: int
    parent: int = 0
    name: str = "work"
    start_ms: float = 0
    duration_ms: float = 10
    kind: int = 1
    status: int = 0
    message: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict)
    resource: Mapping[str, object] = field(default_factory=lambda: {"service.name": "shop"})
    scope: str = "tests"
    events: Sequence[tuple[str, Mapping[str, object]]] = ()
    links: Sequence[tuple[int, int]] = ()


def trace_hex(number: int) -> str:
    """Return a trace id as the API writes it; large enough that its halves are signed differently."""
    return f"{(0xF000_0000_0000_0000 << 64) + number:032x}"


def span_hex(number: int) -> str:
    """Return a span id as the API writes it."""
    return f"{0x8000_0000_0000_0000 + number:016x}"


def otlp_request(spans: Sequence[Given]) -> bytes:
    """Return an OTLP export request that holds the spans."""
    request = ExportTraceServiceRequest()
    for given in spans:
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(key_values(given.resource))
        scope = resource.scope_spans.add()
        scope.scope.name, scope.scope.version = given.scope, "1.0"
        scope.spans.append(_span(given))
    return request.SerializeToString()


def _span(given: Given) -> Span:
    start = BASE_NS + round(given.start_ms * 1e6)
    return Span(
        trace_id=bytes.fromhex(trace_hex(given.trace)),
        span_id=bytes.fromhex(span_hex(given.span)),
        parent_span_id=bytes.fromhex(span_hex(given.parent)) if given.parent else b"",
        name=given.name,
        kind=given.kind,
        start_time_unix_nano=start,
        end_time_unix_nano=start + round(given.duration_ms * 1e6),
        status=Status(code=given.status, message=given.message),
        attributes=key_values(given.attributes),
        events=[
            Span.Event(name=name, time_unix_nano=start + 1, attributes=key_values(attributes))
            for name, attributes in given.events
        ],
        links=[
            Span.Link(trace_id=bytes.fromhex(trace_hex(trace)), span_id=bytes.fromhex(span_hex(span)))
            for trace, span in given.links
        ],
    )


def evaluation_request(trace: int, span: int, attributes: Mapping[str, object]) -> bytes:
    """Return an OTLP logs request that holds one evaluation event."""
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.event_name = "gen_ai.evaluation.result"
    record.time_unix_nano = BASE_NS + 5_000_000
    record.trace_id, record.span_id = bytes.fromhex(trace_hex(trace)), bytes.fromhex(span_hex(span))
    record.attributes.extend(key_values(attributes))
    return request.SerializeToString()


def write_store(
    data_dir: Path, sealed: Sequence[Given] = (), hot: Sequence[Given] = (), evaluations: Sequence[bytes] = ()
) -> None:
    """Write a store: `sealed` into a Parquet segment, `hot` and the evaluations into the log only."""
    store = SpanStore(data_dir, SealLimits(rows=1))
    try:
        if sealed:
            store.append(Frame(ARRIVAL_MS, spans=decode.spans([otlp_request(sealed)], ARRIVAL_MS)))
            assert store.roll_if_due()
            store.seal_closed()
        if hot or evaluations:
            spans = decode.spans([otlp_request(hot)], ARRIVAL_MS) if hot else None
            judged = decode.evaluations(list(evaluations), ARRIVAL_MS) if evaluations else None
            store.append(Frame(ARRIVAL_MS, spans=spans, evaluations=judged))
    finally:
        store.close()


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an application with uvicorn on a free port of loopback and yield its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "uvicorn did not start"
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
