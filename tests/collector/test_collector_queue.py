"""Spans wait for Tempo on disk; when there is no room left they are dropped and counted, never refused once counted."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from stackctl import semconv
from stackctl.bench.collector_server import RealCollector, running
from stackctl.collector.render import CollectorSettings
from tests.collector.real import scraped, until
from tests.realstack import free_port, program

pytestmark = pytest.mark.realstack

SPANS = 20
# What was answered a moment ago is on its way to the queue's file: behind `batch/decouple`, which must not refuse it.
UNWRITTEN_SECONDS = 0.5


@dataclass
class Tempo(TraceServiceServicer):
    """Takes spans as Tempo does, and counts how often each came."""

    received: Counter[bytes] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def Export(self, request: ExportTraceServiceRequest, context: grpc.ServicerContext) -> ExportTraceServiceResponse:
        with self.lock:
            for group in request.resource_spans:
                for scoped in group.scope_spans:
                    self.received.update(span.span_id for span in scoped.spans)
        return ExportTraceServiceResponse()


@contextmanager
def tempo(port: int) -> Iterator[Tempo]:
    """Listen on a port until the end of the block."""
    server, servicer = grpc.server(ThreadPoolExecutor(4)), Tempo()
    add_TraceServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield servicer
    finally:
        server.stop(0).wait()


def _request(number: int) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for at in range(SPANS):
        span = spans.add(name="chat", trace_id=(number + 1).to_bytes(16), span_id=(number * SPANS + at + 1).to_bytes(8))
        span.attributes.add(key=semconv.OPERATION).value.string_value = "chat"
    return request.SerializeToString()


def _total(collector: RealCollector) -> float:
    series = scraped(collector.http.get(collector.derived).text)
    return sum(value for (name, _), value in series.items() if name == "llm_requests_total")


def _own(collector: RealCollector, name: str) -> float:
    lines = collector.http.get(collector.own).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_killed_collector_delivers_what_it_acknowledged(tmp_path: Path) -> None:
    """With Tempo away and the Collector killed, every acknowledged span arrives once both are back."""
    port, requests = free_port(), 50
    settings = CollectorSettings(tempo=f"127.0.0.1:{port}")
    with running(program("otelcol-contrib"), tmp_path, settings) as collector:
        assert {collector.send("traces", _request(number)) for number in range(requests)} == {200}
        time.sleep(UNWRITTEN_SECONDS)
        collector.kill()
    with tempo(port) as there, running(program("otelcol-contrib"), tmp_path, settings):
        until(lambda: len(there.received) >= requests * SPANS, "the spans")
        assert set(there.received.values()) == {1}


def test_a_full_queue_drops_and_counts_what_was_counted_already(tmp_path: Path) -> None:
    """With a full queue nothing is refused: totals stay exact, and what is not stored is in the Collector's metrics."""
    requests = 40
    settings = CollectorSettings(tempo=f"127.0.0.1:{free_port()}")
    small = "exporters: {otlp_grpc/tempo: {sending_queue: {queue_size: 100, batch: {min_size: 20, max_size: 20}}}}"
    with running(program("otelcol-contrib"), tmp_path, settings, [small]) as collector:
        assert {collector.send("traces", _request(number)) for number in range(requests)} == {200}
        until(lambda: _total(collector) >= requests * SPANS, "the calls")
        assert _total(collector) == requests * SPANS
        until(lambda: _own(collector, "otelcol_exporter_enqueue_failed_spans") > 0, "the dropped spans")
