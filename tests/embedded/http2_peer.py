"""A peer of the OTLP/gRPC port that sends any bytes and reads frames."""

import socket
from dataclasses import dataclass

from front_ports import ANSWER_SECONDS, Port
from hpack import Decoder, Encoder

from stackctl.embedded.otlp import http2

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", EXPORT),
    (":authority", "127.0.0.1"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


@dataclass(frozen=True)
class Frame:
    """A frame that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Peer:
    """A client that says what it is told.

    Args:
        port: to connect to.
        greets: whether it begins with preface and SETTINGS, and reads the server's.
    """

    def __init__(self, port: Port, greets: bool = True, settings: dict[int, int] | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port.number), timeout=ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        self.encoder, self._decoder = Encoder(), Decoder()
        if greets:
            self.send(http2.PREFACE, http2.settings(settings or {}))
            self.next(http2.SETTINGS)

    def send(self, *parts: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(b"".join(parts))

    def call(self, stream: int, message: bytes | None, headers: tuple[tuple[str, str], ...] = HEADERS) -> None:
        """Send a call; without a message the stream stays open."""
        self.send(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, self.block(headers)))
        if message is not None:
            self.send(http2.frame(http2.DATA, http2.END_STREAM, stream, framed(message)))

    def block(self, headers: tuple[tuple[str, str], ...] = HEADERS) -> bytes:
        """A header block."""
        return self.encoder.encode(headers)

    def frame(self) -> Frame | None:
        """The next frame; None where the connection was closed."""
        head = self._read(http2.HEAD_BYTES)
        if head is None:
            return None
        high, low, kind, flags, stream = http2.HEAD.unpack(head)
        return Frame(kind, flags, stream, self._read(high << 16 | low) or b"")

    def next(self, kind: int) -> Frame:
        """The next frame of a kind; others are passed over."""
        while (found := self.frame()) is not None:
            if found.kind == kind:
                return found
        raise AssertionError(f"closed before a frame of kind {kind}")

    def status(self, stream: int) -> str | None:
        """The gRPC status that a call is answered with; the HTTP status where there is none; None for a reset."""
        said: dict[str, str] = {}
        while (found := self.frame()) is not None:
            if found.kind == http2.HEADERS:
                headers = dict(self._decoder.decode(found.payload))
                if found.stream == stream:
                    said |= headers
                    if found.flags & http2.END_STREAM:
                        return said.get("grpc-status", said[":status"])
            elif found.kind == http2.RST_STREAM and found.stream == stream:
                return None
        raise AssertionError("closed before the answer")

    def goodbye(self) -> http2.Code | None:
        """The error of GOAWAY when the connection ends; None where it ends without."""
        code = None
        try:
            while (found := self.frame()) is not None:
                if found.kind == http2.GOAWAY:
                    code = http2.Code(int.from_bytes(found.payload[4:8], "big"))
        except ConnectionResetError:
            pass
        return code

    def rest(self) -> bytes:
        """Whatever comes until the connection is closed."""
        out = self._held
        while piece := self._socket.recv(65536):
            out += piece
        return out

    def close(self) -> None:
        """Close without a word."""
        self._socket.close()

    def _read(self, size: int) -> bytes | None:
        while len(self._held) < size:
            piece = self._socket.recv(65536)
            if not piece:
                return None
            self._held += piece
        found, self._held = self._held[:size], self._held[size:]
        return found


def framed(message: bytes, flag: int = 0) -> bytes:
    """A gRPC message with its prefix."""
    return bytes([flag]) + len(message).to_bytes(4, "big") + message
