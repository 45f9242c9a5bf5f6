"""What a span costs in the real Collector: with the whole price book, with three rows, and received and sent on only.

The same spans for each, in requests of a hundred, one sender: the models are drawn evenly from the shipped book, and a
tenth are models that no book knows. Thousands of models are thousands of series, which cost more than prices do: so
where three rows are left, the other names stand in `models.extra`, and both pipelines derive the same series. What is
left when they do not, and all are `other`, is said beside it. All pipelines export to one sink.

Processor time (user and system) of the Collector alone, the least of several runs: other work on the machine only ever
adds to it.
"""

import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from stackctl import semconv
from stackctl.bench import collector_server
from stackctl.bench.collector_server import RealCollector
from stackctl.bench.realstack import program
from stackctl.bench.reports import CollectorReport
from stackctl.bench.requests import add_attribute
from stackctl.collector.render import CollectorSettings
from stackctl.genai.prices import Price, PriceBook, shipped

MOST_TIMES: Final = 1.5
SPANS_PER_REQUEST: Final = 100
_REQUESTS: Final = 30
_WARM_REQUESTS: Final = 10
_UNKNOWN_SHARE: Final = 0.1
_SMALL_ROWS: Final = 3
_SETTLE_SECONDS: Final = 1.5


def measure(path: Path | None, runs: int, say: Callable[[str], None]) -> CollectorReport:
    """Measure the three pipelines, in turn.

    Args:
        path: the Collector's program; None to look where the environment says.
        runs: how often each is measured.
        say: told what happens.

    Raises:
        EnvironmentLacks: there is no Collector.
    """
    found = program("otelcol-contrib", path, "--collector-program")
    whole = shipped()
    small = PriceBook(list(whole.by_key.values())[:: len(whole.by_key) // _SMALL_ROWS][:_SMALL_ROWS])
    names = tuple(dict.fromkeys(model for _, model in whole.by_key))
    with _sink() as sink, tempfile.TemporaryDirectory() as scratch:
        times = {
            "full": _pipeline(found, Path(scratch, "full"), whole, sink, runs, say),
            "small": _pipeline(found, Path(scratch, "three rows"), small, sink, runs, say, names),
            "folded": _pipeline(found, Path(scratch, "three rows and no other names"), small, sink, runs, say),
            "bare": _pipeline(found, Path(scratch, "bare"), whole, sink, runs, say, bare=True),
        }
    return CollectorReport(
        spans=runs * _REQUESTS * SPANS_PER_REQUEST,
        price_rows=len(whole.by_key),
        full_ms=min(times["full"]),
        small_ms=min(times["small"]),
        folded_ms=min(times["folded"]),
        bare_ms=min(times["bare"]),
        times=min(times["full"]) / min(times["small"]),
        load_average=os.getloadavg()[0],
    )


def problems(report: CollectorReport) -> list[str]:
    """Return what breaks the promise."""
    if report.times <= MOST_TIMES:
        return []
    return [
        f"the shipped price book costs {report.times:.2f} times what {_SMALL_ROWS} rows cost, promised {MOST_TIMES}"
    ]


def _pipeline(
    found: Path,
    directory: Path,
    book: PriceBook,
    sink: str,
    runs: int,
    say: Callable[[str], None],
    extra: tuple[str, ...] = (),
    bare: bool = False,
) -> list[float]:
    """Return the milliseconds of processor time that 1,000 spans took in each run."""
    say(f"measuring the Collector: {directory.name}")
    overrides = [_to(sink, bare)]
    source = _Requests(list(shipped().by_key.values()))
    with collector_server.running(
        found, directory, CollectorSettings(book=book, extra_models=extra), overrides
    ) as collector:
        _send(collector, source, _WARM_REQUESTS)
        return [_timed(collector, source) for _ in range(runs)]


def _timed(collector: RealCollector, source: "_Requests") -> float:
    before = collector.cpu_seconds()
    _send(collector, source, _REQUESTS)
    spent = collector.cpu_seconds() - before
    return spent * 1000 / (_REQUESTS * SPANS_PER_REQUEST / 1000)


def _send(collector: RealCollector, source: "_Requests", count: int) -> None:
    for body in [source.make() for _ in range(count)]:
        collector.send("traces", body)
    time.sleep(_SETTLE_SECONDS)  # what is batched for the exporter belongs to these spans


def _to(sink: str, bare: bool) -> str:
    """Export to the sink."""
    exporter = f"exporters: {{otlp_http/sink: {{endpoint: {sink}, compression: none}}}}\n"
    return f"{exporter}service:\n  pipelines:\n{_BARE_PIPELINES if bare else _FULL_PIPELINES}"


_FULL_PIPELINES: Final = "    traces/store: {exporters: [otlp_http/sink]}\n"
# A pipeline beside the rendered ones, which nobody sends to.
_BARE_PIPELINES: Final = """\
    traces/bare: {receivers: [otlp], exporters: [otlp_http/sink]}
    traces/in: {receivers: [otlp/nobody]}
    traces/store: {exporters: [otlp_http/sink]}
receivers: {otlp/nobody: {protocols: {http: {endpoint: "127.0.0.1:0"}}}}
"""


class _Requests:
    """Requests of chat calls as instrumentations send them.

    Args:
        rows: prices whose models are called, each as often as the others.
    """

    def __init__(self, rows: Sequence[Price]) -> None:
        self._rows = rows
        self._random = random.Random(0)

    def make(self) -> bytes:
        """Return the next request."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        for key, value in {semconv.SERVICE_NAME: "bench", semconv.SERVICE_INSTANCE_ID: "1"}.items():
            add_attribute(resource.resource.attributes, key, value)
        scope = resource.scope_spans.add()
        scope.scope.name = "opentelemetry.instrumentation.genai.openai"
        for _ in range(SPANS_PER_REQUEST):
            self._fill(scope.spans.add())
        return bytes(request.SerializeToString())

    def _fill(self, span: Any) -> None:
        draw = self._random
        price = draw.choice(self._rows)
        model = f"unheard-of-{draw.randrange(10**6)}" if draw.random() < _UNKNOWN_SHARE else price.model
        span.trace_id, span.span_id = draw.randbytes(16), draw.randbytes(8)
        span.name, span.kind = f"chat {model}", 3
        span.start_time_unix_nano = time.time_ns() - 10**9
        span.end_time_unix_nano = time.time_ns()
        values: dict[str, str | bool | int | float] = {
            semconv.OPERATION: "chat",
            semconv.PROVIDER: price.provider,
            semconv.REQUEST_MODEL: model,
            semconv.RESPONSE_MODEL: model,
            semconv.RESPONSE_ID: f"chatcmpl-{draw.randbytes(12).hex()}",
            semconv.STREAM: True,
            semconv.TIME_TO_FIRST_CHUNK: draw.random(),
            semconv.INPUT_TOKENS: draw.randrange(10_000),
            semconv.OUTPUT_TOKENS: draw.randrange(1, 1000),
            semconv.CONVERSATION_ID: draw.randbytes(8).hex(),
            semconv.INPUT_MESSAGES: '[{"role": "user", "parts": [{"type": "text", "content": "What is it?"}]}]' * 4,
            semconv.OUTPUT_MESSAGES: '[{"role": "assistant", "parts": [{"type": "text", "content": "It."}]}]' * 4,
            "gen_ai.request.temperature": 0.2,
            "gen_ai.request.max_tokens": 1000,
        }
        for key, value in values.items():
            add_attribute(span.attributes, key, value)


@contextmanager
def _sink() -> Iterator[str]:
    """Run a server that takes every request; yield its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take an OTLP request; the empty answer is a full success."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
