"""Real gRPC clients against the HTTP/2 server of OTLP/gRPC: Python, OpenTelemetry's exporter, Go's Collector."""

import asyncio
import gzip
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import grpc.aio
import httpx2
import pytest
from front_ports import Port, until
from http2_peer import EXPORT
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from otlp_messages import span_request

from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES, Guard
from stackctl.embedded.otlp.signals import BUSY, Refused, Signal
from tests.realstack import free_port, program

OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


@pytest.fixture
def port() -> Iterator[Port]:
    opened = Port()
    yield opened
    opened.close()


@pytest.mark.parametrize("coding", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_pythons_library_sends_small_and_large_messages(port: Port, coding: grpc.Compression) -> None:
    """One byte, a batch, and the largest there may be; one byte more is RESOURCE_EXHAUSTED."""
    bodies = [b"x", b"abcdefgh" * 40_000, bytes(MAX_REQUEST_BYTES)]
    with grpc.insecure_channel(f"127.0.0.1:{port.number}", OPTIONS, compression=coding) as channel:
        call = channel.unary_unary(EXPORT)
        for body in bodies:
            assert call(body, timeout=30) == b""
        with pytest.raises(grpc.RpcError) as caught:
            call(bytes(MAX_REQUEST_BYTES + 1), timeout=30)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert port.taken == [(Signal.TRACES, body) for body in bodies]


def test_pythons_library_makes_many_calls_at_a_time(port: Port) -> None:
    """More calls than a connection may have under way: each is answered, in windows and turns of HTTP/2."""

    async def many() -> list[bytes]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port.number}", options=OPTIONS) as channel:
            call = channel.unary_unary(EXPORT)
            metadata = [(("x-number", str(number)),) for number in range(1000)]
            calls = [call(b"%d" % n * 500, timeout=20, metadata=more) for n, more in enumerate(metadata)]
            return [await one for one in calls]

    assert set(asyncio.run(many())) == {b""}
    assert len({body for _, body in port.taken}) == 1000


def test_pythons_library_hears_refusals(port: Port) -> None:
    """Code, message and retry details arrive; a deadline that passes ends the waiting on the server too."""
    port.outcome = Refused(BUSY, "spät: 100 %")
    with grpc.insecure_channel(f"127.0.0.1:{port.number}", OPTIONS) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(EXPORT)(b"x", timeout=10)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "spät: 100 %")
        assert {key for key, _ in caught.value.trailing_metadata()} >= {"google.rpc.retryinfo-bin"}
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        port.do(port.gate.clear)
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(EXPORT)(b"x", timeout=1.0)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: port.cancelled == 1)
        port.do(port.gate.set)


@pytest.mark.parametrize("coding", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_opentelemetrys_exporter_sends_and_comes_again(coding: grpc.Compression) -> None:
    """Its spans arrive, with a token and gzip as it was told; told to come later, it does so."""
    port = Port(Guard(token="s3cret"))
    exporter = OTLPSpanExporter(
        endpoint=f"http://127.0.0.1:{port.number}",
        insecure=True,
        headers=(("authorization", "Bearer s3cret"),),
        compression=coding,
    )
    results: list[SpanExportResult] = []
    plain = exporter.export
    exporter.export = lambda spans: results.append(plain(spans)) or results[-1]  # type: ignore[method-assign]
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        port.first = [Refused(BUSY, "later")]
        with provider.get_tracer("test").start_as_current_span("a call"):
            pass
        provider.shutdown()
        assert results == [SpanExportResult.SUCCESS]
        assert len(port.taken) == 2
        (found,) = ExportTraceServiceRequest.FromString(port.taken[-1][1]).resource_spans[0].scope_spans[0].spans
        assert found.name == "a call"
    finally:
        port.close()


COLLECTOR = """\
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{entry}"}}}}}}}}
exporters:
  otlp:
    endpoint: 127.0.0.1:{port}
    tls: {{insecure: true}}
    compression: {coding}
    sending_queue: {{enabled: false}}
    retry_on_failure: {{initial_interval: 100ms}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [otlp]}}}}
"""


@pytest.mark.realstack
@pytest.mark.parametrize("coding", ["none", "gzip"])
def test_the_real_collector_sends_and_comes_again(port: Port, tmp_path: Path, coding: str) -> None:
    """Go's gRPC: batches from one span to megabytes arrive byte for byte; what was refused as BUSY comes again."""
    entry = free_port()
    config = tmp_path / "collector.yaml"
    config.write_text(COLLECTOR.format(entry=entry, port=port.number, coding=coding))
    with (tmp_path / "log").open("wb") as log:
        collector = subprocess.Popen([program("otelcol-contrib"), f"--config={config}"], stdout=log, stderr=log)
    url, headers = f"http://127.0.0.1:{entry}/v1/traces", {"content-type": "application/x-protobuf"}
    try:
        with httpx2.Client(trust_env=False, timeout=30) as http:
            _wait(http, url)
            port.taken.clear()
            for count in (1, 500, 20_000):
                body = span_request(count, first_id=count * 100_000).SerializeToString()
                packed = {"content-encoding": "gzip"}
                assert http.post(url, content=gzip.compress(body, 1), headers=headers | packed).status_code == 200
                assert _names(port.taken.pop()[1]) == _names(body)
            port.first = [Refused(BUSY, "later")]
            assert http.post(url, content=span_request(1).SerializeToString(), headers=headers).status_code == 200
            assert len(port.taken) == 2
    finally:
        collector.terminate()
        collector.wait(30)


def _names(body: bytes) -> list[tuple[bytes, str]]:
    groups = ExportTraceServiceRequest.FromString(body).resource_spans
    return [(span.span_id, span.name) for group in groups for scope in group.scope_spans for span in scope.spans]


def _wait(http: httpx2.Client, url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            http.post(url, content=b"", headers={"content-type": "application/x-protobuf"})
            return
        except httpx2.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
