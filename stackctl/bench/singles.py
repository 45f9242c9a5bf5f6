"""The load of applications that do not batch: `python -m stackctl.bench.singles PROTOCOL HOST:PORT SECONDS SEED`.

Every request brings one chat span with ids as long as real ones, over OTLP/gRPC (`grpc`) or OTLP/HTTP (`http`) on
connections that are kept. What was seen is written as JSON on stdout.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson

from stackctl import semconv
from stackctl.bench.calls import GrpcConnection, HttpConnection
from stackctl.bench.load import LoadResult, percentiles
from stackctl.bench.requests import octets

# As many requests wait at a time as many small applications have under way together.
IN_FLIGHT: Final = 128
_CHANNELS: Final = 8  # over gRPC, where a connection carries many
_ROWS: Final = 1024  # requests that are made at once
_TIMEOUT_SECONDS: Final = 20.0
_MODEL: Final = "gpt-4o-mini"
# Characters of the ids that a call has: of the provider's response, of a conversation, of a person.
_IDS: Final = {semconv.RESPONSE_ID: 29, semconv.CONVERSATION_ID: 32, semconv.USER_ID: 12}
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
Bytes = npt.NDArray[np.uint8]
Call = Callable[[bytes], Awaitable[None]]


class SingleSource:
    """Requests of one span, made many at once and none like another.

    Args:
        seed: makes the ids of two sources differ.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._row = _request()
        self._made: list[bytes] = []

    def make(self) -> bytes:
        """Return the next request."""
        if not self._made:
            block = np.tile(np.frombuffer(self._row, np.uint8), (_ROWS, 1))
            self._fill(block)
            self._made = [row.tobytes() for row in block]
        return self._made.pop()

    def _fill(self, block: Bytes) -> None:
        for key, size in _IDS.items():
            at = self._row.index(_marker(key, size))
            block[:, at : at + size] = _HEX[self._rng.integers(0, 16, (_ROWS, size))]
        for key, size in (("trace", 16), ("span", 8)):
            at = self._row.index(_marker(key, size))
            block[:, at : at + size] = self._rng.integers(0, 256, (_ROWS, size), np.uint8)
        durations = (self._rng.lognormal(0.0, 0.8, _ROWS) * 5e8).astype(np.int64)
        ends = time.time_ns() - self._rng.integers(0, 10**7, _ROWS)
        for key, column in (("start", ends - durations), ("ends", ends)):
            at = self._row.index(_marker(key, 8))
            block[:, at : at + 8] = octets(column)


def _request() -> bytes:
    """One serialised request with markers where bytes change."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    for key, value in {semconv.SERVICE_NAME: "small-bot", semconv.DEPLOYMENT_ENVIRONMENT: "bench"}.items():
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "stackctl.bench", "1"
    span = scope.spans.add(
        trace_id=_marker("trace", 16),
        span_id=_marker("span", 8),
        name=f"chat {_MODEL}",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=int.from_bytes(_marker("start", 8), "little"),
        end_time_unix_nano=int.from_bytes(_marker("ends", 8), "little"),
    )
    texts = {
        semconv.OPERATION: "chat",
        semconv.PROVIDER: "openai",
        semconv.REQUEST_MODEL: _MODEL,
        semconv.RESPONSE_MODEL: _MODEL,
        semconv.SERVER_ADDRESS: "api.openai.com",
        **{key: _marker(key, size).decode() for key, size in _IDS.items()},
    }
    for key, value in texts.items():
        span.attributes.add(key=key).value.string_value = value
    for key, number in {semconv.SERVER_PORT: 443, semconv.INPUT_TOKENS: 1024, semconv.OUTPUT_TOKENS: 256}.items():
        span.attributes.add(key=key).value.int_value = number
    return bytes(request.SerializeToString())


def _marker(key: str, size: int) -> bytes:
    """Bytes that stand nowhere else in the request."""
    return f"<{key[-6:]}".encode().ljust(size, b"~")[:size]


async def _connect(protocol: str, target: str) -> Sequence[Call]:
    """As many calls as may be under way at a time, each by its own connection or, over gRPC, several by one."""
    host, port = target.rsplit(":", 1)
    loop = asyncio.get_running_loop()
    if protocol == "http":
        opened = [loop.create_connection(lambda: HttpConnection(target), host, int(port)) for _ in range(IN_FLIGHT)]
        return [connection.post for _, connection in await asyncio.gather(*opened)]
    shared = [loop.create_connection(lambda: GrpcConnection(target), host, int(port)) for _ in range(_CHANNELS)]
    return [connection.call for _, connection in await asyncio.gather(*shared)] * (IN_FLIGHT // _CHANNELS)


async def load(protocol: str, target: str, seconds: float, seed: int) -> LoadResult:
    """Send for some seconds as fast as requests are taken.

    Args:
        protocol: `grpc` or `http`.
        target: host:port.

    Raises:
        TimeoutError: an answer did not come in time.
    """
    source = SingleSource(seed)
    latencies: list[float] = []
    refused: dict[str, int] = {}

    async def send(call: Call) -> None:
        while time.monotonic() < end:
            body = source.make()
            began = time.perf_counter()
            try:
                await call(body)
                latencies.append(time.perf_counter() - began)
            except OSError as error:
                refused[str(error)] = refused.get(str(error), 0) + 1
                await asyncio.sleep(0.05)

    calls = await _connect(protocol, target)
    began, cpu = time.monotonic(), time.process_time()
    end = began + seconds
    async with asyncio.timeout(seconds + _TIMEOUT_SECONDS):
        await asyncio.gather(*map(send, calls))
    took = time.monotonic() - began
    taken = len(latencies)
    return LoadResult(taken, taken, refused, took, percentiles(latencies), 0.0, (time.process_time() - cpu) / took)


def main(arguments: Sequence[str]) -> int:
    """Run the generator; return its exit code."""
    import uvloop

    protocol, target, seconds, seed = arguments
    result = uvloop.run(load(protocol, target, float(seconds), int(seed)))
    sys.stdout.write(orjson.dumps(asdict(result)).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
