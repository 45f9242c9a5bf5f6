"""Hostile input of every kind against the real processes: they live, answer in time, stay small and go on working."""

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import fuzz_bombs
import fuzz_http
import fuzz_http2
import fuzz_otlp
import fuzz_queries
import grpc.aio
import httpx2
import pytest
from fuzz_engine import (
    ANSWER_SECONDS,
    REQUESTS,
    TELEMETRY_AT_ONCE,
    TIMED_OUT,
    Case,
    Engine,
    Http,
    chance,
    farewell,
    fire,
    shout,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stackctl.embedded.otlp import http2
from stackctl.embedded.otlp.signals import Signal

# What part of all requests each kind is, and how many there are at least.
SHARES = {"otlp http": 0.74, "otlp grpc": 0.13, "http2": 0.02, "prometheus": 0.03, "tempo": 0.03, "http": 0.05}
LEAST = 150
MOST_MEGABYTES = {"ingest": 700.0, "query": 1200.0}
OTLP = frozenset({200, 400, 413, 415, 429})
GRPC = frozenset({"OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"})
# How a connection ends: by its sender, or with an error that is the sender's.
HTTP2 = frozenset({None, *(code.name for code in http2.Code)} - {"INTERNAL_ERROR"})
PROMETHEUS = frozenset({200, 400, 404, 422})
TEMPO = frozenset({200, 400, 404, 422})
ANY_HTTP = frozenset({None, 100, 200, 307, 400, 403, 404, 405, 411, 413, 414, 415, 422, 429, 431, 505})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    started = Engine(tmp_path_factory.mktemp("fuzz"))
    try:
        works(started, b"before")
        yield started
        works(started, b"after")
        assert started.tracebacks() == []
    finally:
        started.stop()


@pytest.fixture(autouse=True)
def whole(engine: Engine) -> Iterator[None]:
    """After each test both processes are the same ones, no larger than they may be."""
    before = len(engine.sizes)
    yield
    engine.check()
    engine.sizes.append(engine.megabytes())
    for name, most in MOST_MEGABYTES.items():
        seen = [one[name] for one in engine.sizes[before:]]
        print(f"memory of {name} in MB:", *map(round, seen))
        assert max(seen) <= most


def works(engine: Engine, mark: bytes) -> None:
    """Send one normal call and read it back from both query APIs."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "normal"
    span = resource.scope_spans.add().spans.add(trace_id=mark.rjust(16, b"."), span_id=mark.rjust(8, b"."), kind=3)
    span.start_time_unix_nano = time.time_ns() - 10**9
    span.end_time_unix_nano = time.time_ns()
    for key, value in (("gen_ai.operation.name", "chat"), ("gen_ai.request.model", "gpt-4o")):
        span.attributes.add(key=key).value.string_value = value
    headers = {"content-type": "application/x-protobuf"}
    body = request.SerializeToString()
    with httpx2.Client(trust_env=False, timeout=ANSWER_SECONDS) as http:
        before = calls(engine, http)
        assert http.post(address(engine, "otlp_http", "/v1/traces"), content=body, headers=headers).status_code == 200
        deadline = time.monotonic() + ANSWER_SECONDS
        while calls(engine, http) == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert calls(engine, http) == before + 1
        trace = http.get(address(engine, "tempo", f"/api/traces/{span.trace_id.hex()}"))
        assert '"normal"' in trace.text


def calls(engine: Engine, http: httpx2.Client) -> float:
    """How many calls of the normal service the metrics count; beyond the limit of series it has none of its own."""
    for query in ('sum(llm_requests_total{service_name="normal"})', "sum(llm_requests_total)"):
        answer = http.get(address(engine, "prometheus", "/api/v1/query"), params={"query": query})
        for found in answer.json()["data"]["result"]:
            return float(found["value"][1])
    return 0.0


def address(engine: Engine, endpoint: str, path: str) -> str:
    return f"http://127.0.0.1:{engine.ports[endpoint]}{path}"


def count(kind: str) -> int:
    return max(int(REQUESTS * SHARES[kind]), LEAST)


def posted(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def http_asker(engine: Engine, endpoint: str) -> Callable[[], Callable[[Case], Awaitable[int | None]]]:
    return lambda: Http(engine.ports[endpoint]).ask


# --- telemetry --------------------------------------------------------------------------------------------------------
def test_otlp_over_http(engine: Engine) -> None:
    """Broken and absurd requests, protobuf and JSON: each is taken or refused by its sender's fault, none by ours."""
    cases = (
        Case(f"{what} ({kind})", posted(f"/v1/{kind}", body, headers))
        for what, kind, body, headers in fuzz_otlp.requests(chance("otlp http"), count("otlp http"))
    )
    tally = fire(engine.watched(cases), http_asker(engine, "otlp_http"), OTLP, TELEMETRY_AT_ONCE)
    tally.check("OTLP over HTTP")
    assert tally.statuses[200] > 0
    assert tally.statuses[400] > 0


def test_otlp_over_grpc(engine: Engine) -> None:
    """The same over gRPC: OK, INVALID_ARGUMENT or RESOURCE_EXHAUSTED, never INTERNAL or UNKNOWN."""
    services = {signal.path.rsplit("/", 1)[1]: signal.service for signal in Signal}
    cases = (
        Case(f"{what} ({kind})", body, f"/{services[kind]}/Export")
        for what, kind, body, headers in fuzz_otlp.requests(chance("otlp grpc"), count("otlp grpc"))
        if "content-encoding" not in headers
    )

    def asker() -> Callable[[Case], Awaitable[str]]:
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{engine.ports['otlp_grpc']}", options)

        async def ask(case: Case) -> str:
            try:
                await channel.unary_unary(case.path)(case.raw)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"

        return ask

    tally = fire(engine.watched(cases), asker, GRPC, TELEMETRY_AT_ONCE)
    tally.check("OTLP over gRPC")
    assert tally.statuses["OK"] > 0


def test_long_texts_are_not_held(engine: Engine) -> None:
    """Keys, names, units, labels and patterns of a megabyte, each another: they are judged and let go."""
    before = engine.megabytes()
    headers = {"content-type": "application/x-protobuf"}
    bodies = (one for _ in range(20) for one in fuzz_bombs.long_texts(1_000_000))
    cases = (Case(f"long {kind}", posted(f"/v1/{kind}", body, headers)) for kind, body in bodies)
    fire(cases, http_asker(engine, "otlp_http"), OTLP).check("long texts")
    form = {"content-type": "application/x-www-form-urlencoded"}
    patterns = (f"{number}{'(a|b)*x' * 10_000}" for number in range(60))
    queries = (fuzz_queries.encoded([("query", f'{{__name__=~"{pattern}"}}')]) for pattern in patterns)
    asks = (Case("long pattern", posted("/api/v1/query", query.encode(), form)) for query in queries)
    fire(asks, http_asker(engine, "prometheus"), PROMETHEUS).check("long patterns")
    # Less than they are together: 220 MB of texts beside what each process works with, and 8 MB for each pattern.
    assert {name for name, size in engine.megabytes().items() if size > before[name] + 200} == set()


def test_bombs(engine: Engine) -> None:
    """Tens of thousands of label values, thousands of attributes and services, megabytes of keys, arrays in arrays."""
    source = chance("bombs")
    traces = [
        fuzz_bombs.model_bomb(source, 5000),
        fuzz_bombs.key_bomb(source, 10_000, 10),
        fuzz_bombs.key_bomb(source, 5, 10**6),
    ]
    traces += [fuzz_bombs.nested(depth) for depth in (5, 32, 33, 90, 99, 101, 1000, 20_000)]
    traces += [fuzz_bombs.key_bomb(source, 3000, 20) for _ in range(5)]
    bombs = [("traces", body) for body in traces] + [
        ("metrics", fuzz_bombs.label_bomb(20_000, first)) for first in range(0, min(20 * REQUESTS, 100_000), 20_000)
    ]
    headers = {"content-type": "application/x-protobuf"}
    cases = (Case(f"bomb {kind} {len(body)}", posted(f"/v1/{kind}", body, headers)) for kind, body in bombs)
    fire(cases, http_asker(engine, "otlp_http"), OTLP).check("bombs")


# --- queries ----------------------------------------------------------------------------------------------------------
def asked(kind: str, ask: Callable[..., tuple[str, str]]) -> Iterator[Case]:
    source = chance(kind)
    for _ in range(count(kind)):
        path, parameters = ask(source, time.time())
        form = {"content-type": "application/x-www-form-urlencoded"}
        if kind == "prometheus" and source.random() < 0.3:
            raw = posted(path, parameters.encode(), form)
        else:
            raw = f"GET {path}?{parameters} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
        yield Case(f"{path}?{parameters}"[:300], raw, hurried="&timeout=" in parameters)


def test_promql_and_its_parameters(engine: Engine) -> None:
    """Any text is answered, refused as wrong or refused as unsupported; a few may run out of time."""
    cases = engine.watched(asked("prometheus", fuzz_queries.prometheus))
    tally = fire(cases, http_asker(engine, "prometheus"), PROMETHEUS | {405, TIMED_OUT})
    tally.check("PromQL")
    assert tally.statuses[TIMED_OUT] <= 1 + count("prometheus") // 1000
    assert tally.statuses[200] > count("prometheus") // 10


def test_traceql_and_its_parameters(engine: Engine) -> None:
    """The same for TraceQL, tags and trace ids."""
    cases = engine.watched(asked("tempo", fuzz_queries.tempo))
    tally = fire(cases, http_asker(engine, "tempo"), TEMPO | {TIMED_OUT})
    tally.check("TraceQL")
    assert tally.statuses[TIMED_OUT] <= 1 + count("tempo") // 1000
    assert tally.statuses[200] > count("tempo") // 10


# --- HTTP itself ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("endpoint", ["otlp_http", "prometheus", "tempo"])
def test_http_tricks(engine: Engine, endpoint: str) -> None:
    """Odd methods, paths, headers, encodings and cut requests: a client error or a closed connection, nothing else."""
    source = chance(f"http {endpoint}")
    cases = (Case("raw", fuzz_http.request(source)) for _ in range(count("http") // 3))
    tally = fire(engine.watched(cases), lambda: lambda case: shout(engine.ports[endpoint], case.raw), ANY_HTTP)
    tally.check(f"HTTP on {endpoint}")


def test_http2_tricks(engine: Engine) -> None:
    """Frames in any order and of any content: a connection ends by its sender, or with an error of its sender."""
    source = chance("http2")
    cases = (Case("frames", fuzz_http2.conversation(source)) for _ in range(count("http2")))
    tally = fire(engine.watched(cases), lambda: lambda case: farewell(engine.ports["otlp_grpc"], case.raw), HTTP2)
    tally.check("HTTP/2")
    assert tally.statuses[None] > 0


def test_nothing_was_read_that_is_not_served(engine: Engine, tmp_path: Path) -> None:
    """No path leads to a file: the data directory's own files and the system's stay unseen."""
    for endpoint in ("otlp_http", "prometheus", "tempo"):
        for path in (
            "/../../../../etc/passwd",
            "/..%2f..%2f..%2fetc/passwd",
            "/data/lock",
            "/engine.json",
            "//etc/passwd",
        ):
            raw = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
            tally = fire(iter([Case(path, raw)]), http_asker(engine, endpoint), frozenset({400, 404}))
            tally.check(path)
