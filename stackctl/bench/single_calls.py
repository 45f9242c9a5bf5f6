"""Connections of a sender that does not batch, over HTTP/1.1 and gRPC; a library would cost too much.

They say what real senders say: all headers of a gRPC call, which HPACK makes a few bytes from the second call on, and
HTTP/2's windows in both directions.
"""

import asyncio
from typing import Any

from hpack import Encoder

from stackctl.bench.load import EXPORT
from stackctl.embedded.otlp import http2
from stackctl.embedded.otlp.frame_reader import FrameReader
from stackctl.embedded.otlp.header_blocks import HeaderBlocks


class HttpConnection(asyncio.Protocol):
    """One kept connection that posts one request after the other."""

    def __init__(self, host: str) -> None:
        self._head = f"POST /v1/traces HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-protobuf\r\n".encode()
        self._transport: Any = None
        self._answer: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take an answer, which is small enough to come in one piece."""
        if self._answer is not None:
            taken = data.startswith(b"HTTP/1.1 200")
            answer, self._answer = self._answer, None
            answer.set_result(None) if taken else answer.set_exception(ConnectionRefusedError(data[9:12].decode()))

    def connection_lost(self, _: Exception | None) -> None:
        """End what waits for an answer."""
        if self._answer is not None:
            self._answer.set_exception(ConnectionResetError())

    async def post(self, body: bytes) -> None:
        """Send a request and wait until it is acknowledged.

        Raises:
            OSError: it was not.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._head + b"content-length: %d\r\n\r\n" % len(body) + body)
        await self._answer


class CallFailed(OSError):
    """A call was not acknowledged; the message says its status or why."""


class GrpcConnection(asyncio.Protocol):
    """One connection that makes many calls at a time, each of one small message.

    Args:
        host: `host:port`, the authority that is called.
    """

    def __init__(self, host: str) -> None:
        encoder, headers = Encoder(), _call_headers(host)
        # The first call fills both dynamic tables; every other one refers to them.
        self._block, self._repeated = encoder.encode(headers), encoder.encode(headers)
        self._blocks = HeaderBlocks(dict)
        self._reader: FrameReader[bool] = FrameReader(self, http2.SMALLEST_FRAME_LIMIT)
        self._transport: Any = None
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._next = 1
        self._received = 0
        self._window = http2.FIRST_WINDOW
        self._wider = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the server."""
        self._transport = transport
        self._transport.write(http2.PREFACE + http2.settings({http2.ENABLE_PUSH: 0}))

    def connection_lost(self, _: Exception | None) -> None:
        """End what waits for an answer."""
        self._fail("the connection was lost")

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        try:
            self._reader.feed(data)
        except http2.BrokenConnection as error:
            self._transport.abort()
            self._fail(str(error))

    async def call(self, body: bytes) -> None:
        """Send a request and wait until it is acknowledged.

        Raises:
            CallFailed: it was not.
        """
        size = len(body) + 5
        while self._window < size:
            self._wider.clear()
            await self._wider.wait()
        number, self._next = self._next, self._next + 2
        self._window -= size
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        head = http2.frame(http2.HEADERS, http2.END_HEADERS, number, self._block)
        self._block = self._repeated
        message = b"\0" + len(body).to_bytes(4, "big") + body
        self._transport.write(head + http2.frame(http2.DATA, http2.END_STREAM, number, message))
        await answer

    def data_begins(self, stream: int, size: int, last: bool) -> bool | None:  # noqa: ARG002 - the reader's interface
        """Count an answer's message, and open the window again when it is half closed."""
        self._received += size
        if self._received > http2.FIRST_WINDOW // 2:
            self._transport.write(http2.window_update(0, self._received))
            self._received = 0
        return None

    def data_comes(self, stream: bool, piece: bytes, last: bool) -> None:
        """Nobody reads an acknowledgement's content."""

    def frame_comes(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Take any other frame."""
        if kind == http2.HEADERS:
            headers = self._blocks.read(http2.header_fragment(flags, payload))
            if flags & http2.END_STREAM:
                self._end(stream, headers.get(b"grpc-status", b"none").decode())
        elif kind == http2.WINDOW_UPDATE and not stream:
            self._window += int.from_bytes(payload, "big")
            self._wider.set()
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            self._transport.write(http2.frame(http2.SETTINGS, http2.ACK, 0))
        elif kind == http2.PING and not flags & http2.ACK:
            self._transport.write(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.RST_STREAM:
            self._end(stream, "reset")
        elif kind == http2.GOAWAY:
            self._fail("the server goes away")

    def _end(self, stream: int, status: str) -> None:
        answer = self._answers.pop(stream, None)
        if answer is not None and not answer.done():
            answer.set_result(None) if status == "0" else answer.set_exception(CallFailed(status))

    def _fail(self, why: str) -> None:
        for stream in list(self._answers):
            self._end(stream, why)


def _call_headers(host: str) -> list[tuple[bytes, bytes]]:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", EXPORT.encode()),
        (b":authority", host.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"stackctl-bench/1"),
        (b"grpc-accept-encoding", b"identity,gzip"),
    ]
