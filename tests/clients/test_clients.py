"""The clients of the two query APIs against real servers: our Tempo, the real Prometheus, ones that misbehave."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from span_store import BASE_NS, Given, served, span_hex, trace_hex, write_store
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stackctl.clients import PrometheusClient, TempoClient, traces
from stackctl.embedded.api.tempo import app
from stackctl.errors import Misuse, NotFound, QueryInvalid, QueryUnsupported, StackNotRunning, UpstreamFailed
from stackctl.stack import EngineConfig
from tests.realstack import free_port

SPANS = [
    Given(1, 1, 0, "ask", 0, 100, kind=2),
    Given(1, 2, 1, "chat", 10, 50, kind=3, status=2, message="no", attributes={"n": 2**55, "list": ["a", 1]}),
    Given(1, 3, 77, "lost", 20, 5, events=[("e", {"x": 1.5})]),
]


@pytest.fixture(scope="module")
def tempo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempoClient]:
    data_dir = tmp_path_factory.mktemp("clients")
    write_store(data_dir, hot=SPANS)
    with served(app(EngineConfig(str(data_dir)))) as url, TempoClient(url) as client:
        yield client


def test_trace(tempo: TempoClient) -> None:
    """A trace by id has its spans with typed attributes, names for kind and status, and its tree."""
    trace = tempo.trace(trace_hex(1).upper())
    assert trace.trace_id == trace_hex(1)
    ask, chat, lost = trace.spans
    assert trace.root == ask
    assert trace.children(ask.span_id) == (chat,)
    assert trace.children(None) == (ask, lost)
    assert (chat.span_id, chat.parent_id, ask.parent_id) == (span_hex(2), span_hex(1), None)
    assert (chat.kind, chat.status, chat.status_message, chat.service) == ("client", "error", "no", "shop")
    assert chat.attributes == {"n": 2**55, "list": ["a", 1]}
    assert (chat.start_ns, chat.duration_ns) == (BASE_NS + 10_000_000, 50_000_000)
    assert (lost.events[0].name, lost.events[0].attributes) == ("e", {"x": 1.5})


def test_search(tempo: TempoClient) -> None:
    """A search gives traces with their matched spans, and counts of all spans and errors."""
    (found,) = tempo.search('{ name = "chat" } | select(.n)')
    assert (found.trace_id, found.root_service, found.root_name) == (trace_hex(1), "shop", "ask")
    assert (found.matched, found.span_count, found.error_count) == (1, 3, 1)
    assert found.spans[0].attributes == {"n": 2**55}
    assert tempo.search(start=1, end=2) == []
    assert tempo.tag_values("span.n") == [str(2**55)]
    assert tempo.ready()


@pytest.mark.parametrize(
    ("question", "error"),
    [
        (lambda client: client.trace("77"), NotFound),
        (lambda client: client.trace("no id"), Misuse),
        (lambda client: client.search("{ instrumentation.a = 1 }"), QueryUnsupported),
        (lambda client: client.search("{ .a\n = }"), QueryInvalid),
    ],
)
def test_refusals(tempo: TempoClient, question: Callable[[TempoClient], object], error: type[Exception]) -> None:
    """Each way in which Tempo refuses is its own error, with a next step."""
    with pytest.raises(error) as caught:
        question(tempo)
    assert caught.value.next_step


def test_position_of_a_syntax_error(tempo: TempoClient) -> None:
    """Line and column of the server's message become an offset into the query."""
    with pytest.raises(QueryInvalid) as caught:
        tempo.search("{ .a\n = }")
    assert caught.value.position == len("{ .a\n = ")


def test_hex_ids_are_read_too() -> None:
    """OTLP/JSON's hexadecimal ids and integer enums are read as well as Tempo's base64 and names."""
    span = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "2", "kind": 3, "status": {"code": 2}, "name": "x"}
    read = traces.trace({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    assert read is not None
    assert (read.trace_id, read.spans[0].kind, read.spans[0].status) == ("0" * 31 + "1", "client", "error")


def test_nobody_listens() -> None:
    """A refused connection is StackNotRunning, and not ready."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StackNotRunning):
        PrometheusClient(url).instant("up")
    assert not TempoClient(url).ready()


def misbehaving() -> Starlette:
    def slow(_: Request) -> Response:
        time.sleep(0.5)
        return PlainTextResponse("late")

    return Starlette(
        routes=[
            Route("/api/v1/query", slow, methods=["POST"]),
            Route("/api/v1/query_range", lambda _: PlainTextResponse("<html>"), methods=["POST"]),
            Route("/api/v1/label/__name__/values", lambda _: PlainTextResponse("broken", 500)),
            Route("/api/search", lambda request: PlainTextResponse(request.headers["authorization"], 401)),
        ]
    )


def test_servers_that_misbehave() -> None:
    """Too late, not JSON, a server error and a refused token are UpstreamFailed, each with its own message."""
    with (
        served(misbehaving()) as url,
        PrometheusClient(url) as client,
        PrometheusClient(url, timeout=0.1) as hasty,
    ):
        with pytest.raises(UpstreamFailed, match="in time"):
            hasty.instant("up")
        with pytest.raises(UpstreamFailed, match="JSON"):
            client.range("up", 0, 1, 1)
        with pytest.raises(UpstreamFailed, match="500: broken"):
            client.metric_names()
        with pytest.raises(UpstreamFailed, match="token"):
            TempoClient(url, "secret").search()


@pytest.fixture(scope="module")
def prometheus(realstack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusClient]:
    """The real Prometheus with five samples of two series that promtool wrote."""
    work = tmp_path_factory.mktemp("prometheus")
    lines = [
        f'jobs_total{{kind="{kind}"}} {n * size} {1_000_000 + n * 60}'
        for kind, size in (("a", 1), ("b", 2))
        for n in range(5)
    ]
    (work / "samples").write_text("# TYPE jobs_total counter\n" + "\n".join(lines) + "\n# EOF\n")
    promtool = [realstack / "promtool", "tsdb", "create-blocks-from", "openmetrics", work / "samples", work / "data"]
    subprocess.run(promtool, check=True, capture_output=True)
    (work / "prometheus.yml").write_text(json.dumps({"global": {"scrape_interval": "1m"}}))
    port = free_port()
    server = subprocess.Popen(
        [
            realstack / "prometheus",
            f"--config.file={work / 'prometheus.yml'}",
            f"--storage.tsdb.path={work / 'data'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = PrometheusClient(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 20
        while not client.ready():
            assert time.monotonic() < deadline, "Prometheus did not start"
            time.sleep(0.05)
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait()


@pytest.mark.realstack
def test_the_real_prometheus(prometheus: PrometheusClient) -> None:
    """Instant, range and names are read from the real Prometheus, and its errors are told apart."""
    samples = prometheus.instant("sum by (kind) (jobs_total)", 1_000_240)
    assert {sample.labels["kind"]: sample.value for sample in samples} == {"a": 4.0, "b": 8.0}
    assert samples[0].time == 1_000_240
    (line,) = prometheus.range('jobs_total{kind="b"}', 1_000_000, 1_000_120, 60)
    assert line.points == ((1_000_000, 0.0), (1_000_060, 2.0), (1_000_120, 4.0))
    assert prometheus.metric_names() == ["jobs_total"]
    assert prometheus.instant("scalar(jobs_total{kind='a'})", 1_000_240)[0].value == 4.0
    assert prometheus.exemplars("jobs_total", 0, 1) == []
    with pytest.raises(QueryInvalid) as caught:
        prometheus.instant("sum(jobs_total")
    assert caught.value.position == len("sum(jobs_total")
    with pytest.raises(QueryUnsupported):
        prometheus.instant("jobs_total[5m]", 1_000_240)
