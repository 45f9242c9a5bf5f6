"""Connections of senders over HTTP/1.1 and gRPC; a library would cost too much of the machine that is measured.

They say what real senders say: all headers of a gRPC call, which HPACK makes a few bytes from the second call on, and
HTTP/2's windows in both directions.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from hpack import Encoder

from stackctl.embedded.otlp import http2
from stackctl.embedded.otlp.frame_reader import FrameReader, Piece
from stackctl.embedded.otlp.header_blocks import HeaderBlocks

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_ANSWER_SECONDS: Final = 20.0
_PREFIX_BYTES: Final = 5  # before each gRPC message: whether it is compressed, and its length


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
    """A call was not acknowledged; the message says its gRPC status or why."""


@dataclass
class _Stream:
    """A call that is under way.

    Attributes:
        window: bytes that the server still takes of it.
    """

    answer: "asyncio.Future[None]"
    window: int


class GrpcConnection(asyncio.Protocol):
    """One connection that makes many calls at a time.

    Args:
        host: `host:port`, the authority that is called.

    Attributes:
        closed: it was lost, or the server wants no more of it.
    """

    def __init__(self, host: str) -> None:
        encoder, headers = Encoder(), _call_headers(host)
        # The first call fills both dynamic tables; every other one refers to them.
        self._block, self._repeated = encoder.encode(headers), encoder.encode(headers)
        self._blocks = HeaderBlocks(dict)
        self._reader: FrameReader[bool] = FrameReader(self, http2.SMALLEST_FRAME_LIMIT)
        self._transport: Any = None
        self._streams: dict[int, _Stream] = {}
        self._next = 1
        self._received = 0
        self._window = self._first_window = http2.FIRST_WINDOW
        self._frame_limit = http2.SMALLEST_FRAME_LIMIT
        self._wider = asyncio.Event()
        self.closed = False

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

    async def call(self, body: bytes | memoryview, seconds: float = _ANSWER_SECONDS) -> None:
        """Send a request and wait until it is acknowledged.

        Args:
            seconds: how long.

        Raises:
            CallFailed: it was not.
        """
        if self.closed:
            raise CallFailed("the connection is closed")
        loop = asyncio.get_running_loop()
        number, self._next = self._next, self._next + 2
        stream = _Stream(loop.create_future(), self._first_window)
        self._streams[number] = stream
        opening = http2.frame(http2.HEADERS, http2.END_HEADERS, number, self._block)
        self._block = self._repeated
        limit = loop.call_later(seconds, self._give_up, number)
        try:
            await self._send(number, stream, opening, body)
            await stream.answer
        finally:
            limit.cancel()

    async def _send(self, number: int, stream: _Stream, opening: bytes, body: bytes | memoryview) -> None:
        """Send a message as the server's windows allow it, what opens its stream with its first frame."""
        left = memoryview(body)
        prefix = b"\0" + len(left).to_bytes(_PREFIX_BYTES - 1, "big")
        while not stream.answer.done():
            room = min(self._frame_limit, self._window, stream.window) - len(prefix)
            if room <= 0:
                if opening:  # streams are opened in the order of their numbers
                    self._transport.write(opening)
                    opening = b""
                self._wider.clear()
                await self._wider.wait()
                continue
            piece, left = left[:room], left[room:]
            size = len(prefix) + len(piece)
            self._window -= size
            stream.window -= size
            head = http2.frame_head(http2.DATA, 0 if left else http2.END_STREAM, number, size)
            self._transport.writelines([opening + head + prefix, piece])
            opening = prefix = b""
            if not left:
                return

    def data_begins(self, stream: int, size: int, last: bool) -> bool | None:  # noqa: ARG002 - the reader's interface
        """Count an answer's message, and open the window again when it is half closed."""
        self._received += size
        if self._received > http2.FIRST_WINDOW // 2:
            self._transport.write(http2.window_update(0, self._received))
            self._received = 0
        return None

    def data_comes(self, stream: bool, piece: Piece, last: bool) -> None:
        """Nobody reads an acknowledgement's content."""

    def frame_comes(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Take any other frame."""
        if kind == http2.HEADERS:
            headers = self._blocks.read(http2.header_fragment(flags, payload))
            if flags & http2.END_STREAM:
                self._end(stream, headers.get(b"grpc-status", b"none").decode())
        elif kind == http2.WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload, "big"))
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            self._configure(http2.read_settings(payload))
        elif kind == http2.PING and not flags & http2.ACK:
            self._transport.write(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.RST_STREAM:
            self._end(stream, "reset")
        elif kind == http2.GOAWAY:
            self._fail("the server goes away")

    def _configure(self, values: dict[int, int]) -> None:
        """Take what the server says of itself (RFC 9113, 6.5.2)."""
        self._frame_limit = values.get(http2.MAX_FRAME_SIZE, self._frame_limit)
        before, self._first_window = self._first_window, values.get(http2.INITIAL_WINDOW_SIZE, self._first_window)
        for one in self._streams.values():
            one.window += self._first_window - before
        self._wider.set()
        self._transport.write(http2.frame(http2.SETTINGS, http2.ACK, 0))

    def _widen(self, stream: int, by: int) -> None:
        if not stream:
            self._window += by
        elif stream in self._streams:
            self._streams[stream].window += by
        self._wider.set()

    def _end(self, number: int, status: str) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None and not stream.answer.done():
            stream.answer.set_result(None) if status == "0" else stream.answer.set_exception(CallFailed(status))

    def _give_up(self, number: int) -> None:
        self._end(number, "no answer in time")
        self._wider.set()

    def _fail(self, why: str) -> None:
        self.closed = True
        for number in list(self._streams):
            self._end(number, why)
        self._wider.set()


class GrpcSender:
    """Calls over one connection, which is opened anew when it was lost.

    Args:
        target: host:port.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._connection: GrpcConnection | None = None
        self._opening = asyncio.Lock()

    async def call(self, body: bytes | memoryview, seconds: float = _ANSWER_SECONDS) -> None:
        """Send a request and wait until it is acknowledged.

        Args:
            seconds: how long.

        Raises:
            OSError: it was not, or nobody listens.
        """
        connection = self._connection
        if connection is None or connection.closed:
            connection = await self._opened()
        await connection.call(body, seconds)

    async def _opened(self) -> GrpcConnection:
        async with self._opening:
            if self._connection is None or self._connection.closed:  # else another call opened it meanwhile
                self._connection = await self._open()
            return self._connection

    async def _open(self) -> GrpcConnection:
        host, port = self._target.rsplit(":", 1)
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: GrpcConnection(self._target), host, int(port)))[1]


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
