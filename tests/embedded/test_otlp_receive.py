"""The OTLP ports of a real ingest process: what is taken, what is refused, and in which words."""

import asyncio
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import grpc
import httpx2
import pytest
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp_messages import START_NS, call_request, log_request, span_request

from stackctl.bench.ingest import IngestProcess
from stackctl.embedded.otlp import answers, receive
from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES, Guard, inflate
from stackctl.embedded.otlp.receive import Intake, Request
from stackctl.embedded.otlp.signals import (
    BUSY,
    FORBIDDEN_HOST,
    INVALID,
    TOO_LARGE,
    UNAVAILABLE,
    Accepted,
    Refused,
    Signal,
)
from stackctl.embedded.store.reader import SpanReader

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def ingest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IngestProcess]:
    process = IngestProcess(tmp_path_factory.mktemp("ingest") / "data")
    process.wait_ready()
    yield process
    process.stop()


@pytest.fixture
def http(ingest: IngestProcess) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{ingest.ports['otlp_http']}", trust_env=False) as client:
        yield client


def export(ingest: IngestProcess, signal: Signal, body: bytes) -> bytes:
    """Call a signal's export over gRPC with raw bytes."""
    target, options = f"127.0.0.1:{ingest.ports['otlp_grpc']}", [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(target, options) as channel:
        answer: bytes = channel.unary_unary(f"/{signal.service}/Export")(body, timeout=20)
    return answer


def metrics_request() -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="queue.length")
    metric.gauge.data_points.add(time_unix_nano=START_NS, as_int=3)
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("signal", "body"),
    [
        (Signal.TRACES, span_request(3, first_id=900).SerializeToString()),
        (Signal.LOGS, log_request({"gen_ai.evaluation.name": "grounded", "gen_ai.evaluation.score.value": 0.5})),
        (Signal.METRICS, metrics_request()),
    ],
)
def test_each_signal_is_taken_over_grpc_and_http(
    ingest: IngestProcess, http: httpx2.Client, signal: Signal, body: bytes
) -> None:
    """Traces, metrics and logs are acknowledged with an empty response, plain and gzipped, on both ports."""
    assert export(ingest, signal, body) == b""
    for content, extra in ((body, {}), (gzip.compress(body), {"content-encoding": "gzip"})):
        answer = http.post(signal.path, content=content, headers=PROTOBUF | extra)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == "application/x-protobuf"


def test_json_is_taken_and_answered_in_json(ingest: IngestProcess, http: httpx2.Client) -> None:
    """A browser's OTLP/JSON is stored as protobuf is, and answered in JSON."""
    span = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "page load"}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span, {"traceId": "00"}]}]}]}
    answer = http.post("/v1/traces", json=body)
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
    hot = SpanReader(ingest.data_dir).hot()
    assert hot is not None
    assert int("b7ad6b7169203331", 16) - 2**64 in hot.column("span_id").to_pylist()


def test_refused_spans_are_a_partial_success(ingest: IngestProcess) -> None:
    """Spans without valid ids are counted in the answer, the others stored."""
    request = span_request(2, first_id=800)
    request.resource_spans[0].scope_spans[0].spans[0].span_id = b"short"
    answer = ExportTraceServiceResponse.FromString(export(ingest, Signal.TRACES, request.SerializeToString()))
    assert answer.partial_success.rejected_spans == 1
    assert "8" in answer.partial_success.error_message


@pytest.mark.parametrize("signal", list(Signal))
def test_undecodable_bytes_are_refused_for_good(ingest: IngestProcess, http: httpx2.Client, signal: Signal) -> None:
    """INVALID_ARGUMENT or 400 with a google.rpc.Status in the request's encoding: senders do not try again."""
    with pytest.raises(grpc.RpcError) as caught:
        export(ingest, signal, b"no protobuf")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    answer = http.post(signal.path, content=b"no protobuf", headers=PROTOBUF)
    assert answer.status_code == 400
    assert status_pb2.Status.FromString(answer.content).message == "not a valid OTLP protobuf message"
    answer = http.post(signal.path, content=b"{", headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def test_a_gzip_bomb_is_refused_without_inflating_it(ingest: IngestProcess, http: httpx2.Client) -> None:
    """100 MB of zeros in 100 kB: 413, and the process does not grow by them."""
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as file:
        for _ in range(100):
            file.write(bytes(1_000_000))
    answer = http.post("/v1/traces", content=bomb.getvalue(), headers=PROTOBUF | {"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert ingest.status()["queue_bytes"] == 0


def test_a_body_beyond_the_limit_is_refused(http: httpx2.Client) -> None:
    """Whether the size is declared or not, reading ends at the limit."""

    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_REQUEST_BYTES // 2**20 + 1):
            yield bytes(2**20)

    with suppress(httpx2.TransportError):  # the server may close before all of it was sent
        assert http.post("/v1/traces", content=chunks(), headers=PROTOBUF).status_code == 413
    assert http.get("/-/ready").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({}, 415),
        (PROTOBUF | {"content-encoding": "br"}, 415),
        (PROTOBUF | {"content-encoding": "gzip"}, 400),
        (PROTOBUF | {"host": "evil.example"}, 403),
        ({"content-type": "Application/JSON; charset=utf-8"}, 400),
        (PROTOBUF | {"host": "localhost:4318"}, 400),
    ],
)
def test_headers_decide_who_and_what_is_served(http: httpx2.Client, headers: dict[str, str], status: int) -> None:
    """Other types and codings are 415, a foreign Host header (DNS rebinding) is 403."""
    assert http.post("/v1/traces", content=b"x", headers=headers).status_code == status


def test_other_methods_and_paths_are_not_served(http: httpx2.Client) -> None:
    """Only what OTLP names exists, without CORS."""
    assert http.get("/v1/traces").status_code == 405
    assert http.post("/v1/other", content=b"").status_code == 404
    answer = http.options("/v1/traces", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_a_repeated_request_is_acknowledged_and_stored_once(ingest: IngestProcess) -> None:
    """A sender that got no answer sends again: the second is a success and changes nothing."""
    body = call_request(5, first_id=700)
    assert export(ingest, Signal.TRACES, body) == b""
    before = ingest.status()
    assert export(ingest, Signal.TRACES, body) == b""
    after = ingest.status()
    assert after["spans_total"] == before["spans_total"]
    assert after["repeated_requests_total"] == before["repeated_requests_total"] + 1


def test_records_that_are_no_evaluation_are_counted(ingest: IngestProcess) -> None:
    """There is no log store; `status` says what was dropped."""
    before = ingest.status()["dropped_log_records_total"]
    export(ingest, Signal.LOGS, log_request({"n": 1}, {"n": 2}, event="app.event"))
    assert ingest.status()["dropped_log_records_total"] == before + 2


async def settled() -> None:
    """Let every task go on until it waits for something: longer than a group is gathered, in many turns."""
    for _ in range(30):
        await asyncio.sleep(0.002)


def test_a_full_queue_says_when_to_come_again() -> None:
    """Beyond its bytes the queue refuses at once; what waits is still answered."""

    async def scenario() -> list[object]:
        gate = asyncio.Event()

        async def prepare(requests: object) -> object:
            await gate.wait()
            return requests

        async def store(requests: list[object]) -> list[Accepted]:
            return [Accepted() for _ in requests]

        intake = Intake(prepare, store, lambda: 0, max_queue_bytes=100)
        running = asyncio.create_task(intake.run())
        takes = [asyncio.create_task(intake.take(Signal.TRACES, bytes(60))) for _ in range(4)]
        await settled()
        assert intake.queue_bytes <= 120
        gate.set()
        found = await asyncio.gather(*takes, return_exceptions=True)
        intake.drain()
        await running
        assert intake.queue_bytes == 0
        return found

    outcomes = asyncio.run(scenario())
    assert Accepted() in outcomes
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert refused
    assert all(outcome.kind is BUSY for outcome in refused)


def test_a_group_is_begun_when_it_is_worth_its_fixed_cost() -> None:
    """Who is free takes what waits; beside another a large one is begun, and a full one while all are busy."""
    small, large, full = 1_000, receive.BESIDE_BYTES, receive.MAX_GROUP_BYTES

    def begun(*arrivals: tuple[int, int], at_once: int = 2) -> list[list[int]]:
        """Take requests of some sizes, see how many groups are begun after each; return the groups' sizes."""
        return asyncio.run(_groups(arrivals, at_once))

    assert begun((small, 1), (small, 1), (large - 2 * small, 1), (small, 2), (large, 2), (full, 3), (full, 3)) == [
        [small],
        [small, large - 2 * small, small],
        [large],
        [full],
        [full],
    ]
    # Somebody asks, so one is prepared at a time.
    assert begun((small, 1), (large, 1), (full, 2), (full, 2), at_once=1) == [[small], [large], [full], [full]]


async def _groups(arrivals: Sequence[tuple[int, int]], at_once: int) -> list[list[int]]:
    begun: list[list[int]] = []
    gate = asyncio.Event()

    async def prepare(requests: Sequence[Request]) -> Sequence[Request]:
        begun.append([len(request.body) for request in requests])
        await gate.wait()
        return requests

    async def store(requests: Sequence[Request]) -> list[Accepted]:
        await gate.wait()
        return [Accepted() for _ in requests]

    intake = Intake(prepare, store, lambda: 0, at_once=lambda: at_once)
    running = asyncio.create_task(intake.run())
    takes = []
    for size, groups in arrivals:
        takes.append(asyncio.create_task(intake.take(Signal.TRACES, bytes(size))))
        await settled()
        assert len(begun) == groups
    gate.set()
    await asyncio.gather(*takes)
    intake.drain()
    await running
    return begun


def test_no_group_waits_for_a_slower_one() -> None:
    """Two are prepared side by side, and the one that is ready first is answered first."""

    async def scenario() -> None:
        slow = asyncio.Event()

        async def prepare(requests: Sequence[Request]) -> Sequence[Request]:
            if requests[0].body.startswith(b"slow"):
                await slow.wait()
            return requests

        async def store(requests: Sequence[Request]) -> list[Accepted]:
            return [Accepted() for _ in requests]

        intake = Intake(prepare, store, lambda: 0, at_once=lambda: 2)
        running = asyncio.create_task(intake.run())
        waits = asyncio.create_task(intake.take(Signal.TRACES, b"slow"))
        await settled()
        async with asyncio.timeout(5):
            await intake.take(Signal.TRACES, bytes(receive.BESIDE_BYTES))
        assert not waits.done()
        slow.set()
        assert await waits == Accepted()
        intake.drain()
        await running

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [BUSY, UNAVAILABLE])
def test_retry_details_go_to_both_keys(kind: object) -> None:
    """`grpc-status-details-bin` is the specification's place, `google.rpc.retryinfo-bin` the Python SDK's."""
    metadata = dict(answers.retry_metadata(Refused(kind, "later")))
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    info = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert info == error_details_pb2.RetryInfo.FromString(metadata["google.rpc.retryinfo-bin"])
    assert info.retry_delay.seconds == kind.retry_seconds
    assert answers.retry_metadata(Refused(INVALID, "never")) == ()


def test_inflating_stops_at_the_limit_and_reads_all_members() -> None:
    """A gzip body may have several members; together they may not exceed the limit."""
    two = gzip.compress(b"a" * 50) + gzip.compress(b"b" * 50)
    assert inflate(two, 100) == b"a" * 50 + b"b" * 50
    with pytest.raises(Refused) as caught:
        inflate(two, 99)
    assert caught.value.kind is TOO_LARGE
    with pytest.raises(Refused) as caught:
        inflate(two[:-3], 100)
    assert caught.value.kind is INVALID


def test_beyond_loopback_a_token_is_needed() -> None:
    """With a token the token decides; without one the host name does."""
    guard = Guard(frozenset({"0.0.0.0"}), "s3cret")
    guard.check("any.host:4318", "Bearer s3cret")
    for wrong in (None, "", "Bearer other", "s3cret"):
        with pytest.raises(Refused):
            guard.check("any.host", wrong)
    with pytest.raises(Refused) as caught:
        Guard().check("any.host", None)
    assert caught.value.kind is FORBIDDEN_HOST
    for host in ("localhost:4318", "127.0.0.1", "[::1]:80", None):
        Guard().check(host, None)


def test_what_is_refused_is_never_quoted(ingest: IngestProcess, tmp_path: Path) -> None:
    """Error answers hold nothing of the request: it may be a prompt."""
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "CANARY-7f3"}]}]}]}).encode()
    with httpx2.Client(trust_env=False) as client:
        answer = client.post(f"http://127.0.0.1:{ingest.ports['otlp_http']}/v1/traces", content=body, headers=JSON)
    assert answer.status_code == 400
    assert b"CANARY" not in answer.content
