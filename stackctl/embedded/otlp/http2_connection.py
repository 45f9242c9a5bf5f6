"""The server's side of an HTTP/2 connection (RFC 9113): all of it but what belongs to a single stream.

What costs a peer nothing to send and something to receive (pings, settings, resets, empty frames: CVE-2023-44487 and
its relatives) is counted, and more of it than any honest sender has ends the connection. So does a header block that
never ends (CVE-2024-27316). A peer that does not read is not read from.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from stackctl.embedded.otlp import http2
from stackctl.embedded.otlp.frame_reader import FrameReader, Piece
from stackctl.embedded.otlp.front import GREETING_SECONDS, REQUEST_SECONDS, Front, keep_alive
from stackctl.embedded.otlp.header_blocks import MAX_HEADER_BYTES
from stackctl.embedded.otlp.http2 import BrokenConnection, Code

S = TypeVar("S")

MOST_STREAMS: Final = 256
# A batch of spans in one frame or few, where the default of 16 KiB makes dozens.
FRAME_BYTES: Final = 1024**2
# Whatever comes is taken at once and bounded by `front.Unfinished`; windows only keep the sender from waiting. They are
# opened when half is left, which is more than any frame: there is no getting beyond them.
STREAM_WINDOW: Final = 4 * 1024**2
CONNECTION_WINDOW: Final = 16 * 1024**2
_OURS: Final = http2.settings(
    {
        http2.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
        http2.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        http2.MAX_FRAME_SIZE: FRAME_BYTES,
        http2.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
    }
) + http2.window_update(0, CONNECTION_WINDOW - http2.FIRST_WINDOW)
# Slices of bytes cost less than those of views, as long as they are small.
_SMALL_BYTES: Final = 16 * 1024
# Answers to what came are written after so much of it: a request that is refused may have 30 bytes, and its answer 150.
_TURN_BYTES: Final = 64 * 1024
_SETTINGS_ACK: Final = http2.frame(http2.SETTINGS, http2.ACK, 0)

# How many frames that carry nothing a connection may send: each answer and each second make good for some.
MOST_IDLE_FRAMES: Final = 1_000
_IDLE_FRAMES_PER_ANSWER: Final = 8
_IDLE_FRAMES_PER_SECOND: Final = 100
_MOST_FRAGMENTS: Final = 16

_METHODS: Final = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"DELETE ", b"PATCH ")
_OTHER_PORT: Final = b"this port speaks gRPC (HTTP/2); OTLP over HTTP/1.1 has a port of its own\n"
_HTTP1_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
    % (len(_OTHER_PORT), _OTHER_PORT)
)


class Http2Connection(asyncio.BufferedProtocol, Generic[S]):
    """One connection; streams are its subclass's.

    Args:
        front: the port that it belongs to.

    Attributes:
        transport: its way out.
        streams: those that are open.
        last_stream: the highest that the peer opened.
        send_window: bytes that the peer takes on all streams.
        first_window: bytes that the peer takes on a new stream.
        draining: nothing new is taken.
    """

    def __init__(self, front: Front) -> None:
        self.front = front
        self.transport: Any = None
        self.streams: dict[int, S] = {}
        self.last_stream = 0
        self.send_window = self.first_window = http2.FIRST_WINDOW
        self.draining = False
        self.heard = self._opened = front.loop.time()
        self._reader: FrameReader[S] = FrameReader(self, FRAME_BYTES)
        self._greeting: bytes | None = b""  # what came of the preface; None when it is whole
        self._configured = False  # the peer's first SETTINGS were there
        self._block: tuple[int, bool, list[bytes]] | None = None  # a header block that is not whole
        self._window = CONNECTION_WINDOW
        self._idle_frames = 0
        self._closed = False
        self._out: list[bytes] = []
        self._stuck_since: float | None = None
        self._kept = b""  # what was read before the peer was seen not to read

    # --- what a subclass does ----------------------------------------------------------------------------------------
    def block_comes(self, stream: int, last: bool, block: bytes) -> None:
        """Take a whole header block; `last` where the stream ends with it."""
        raise NotImplementedError

    def stream_data_begins(self, stream: S, size: int, last: bool) -> S | None:
        """Count a DATA frame against its stream's window; None where its content is not wanted."""
        raise NotImplementedError

    def data_comes(self, stream: S, piece: Piece, last: bool) -> None:
        """Take a piece of a request."""
        raise NotImplementedError

    def open_window(self, stream: S, by: int) -> None:
        """Let a stream send more (or less, by a change of settings); raises where that is beyond the largest."""
        raise NotImplementedError

    def forget(self, stream: S) -> None:
        """Nobody waits for a stream any more."""
        raise NotImplementedError

    def look_at(self, stream: S, now: float) -> None:
        """End a stream that takes too long."""
        raise NotImplementedError

    # --- the event loop's and the front's side -----------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter the connection."""
        self.transport = transport
        keep_alive(transport)
        self.front.opened(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Nobody waits for anything any more."""
        self._closed = True
        for stream in list(self.streams.values()):
            self.forget(stream)
        self.front.closed(self)

    def get_buffer(self, _: int) -> memoryview:
        """Where to read to: what comes is taken before anything else is read there."""
        return self.front.scratch

    def buffer_updated(self, size: int) -> None:
        """Take what came."""
        if self._closed:
            return
        self.heard = self.front.loop.time()
        data: Piece = self.front.scratch[:size]
        if size < _SMALL_BYTES:
            data = bytes(data)
        if self._greeting is not None:
            data = self._greet(self._greeting + data)
        self._take(data)

    def _take(self, data: Piece) -> None:
        """Take what came as long as the peer takes the answers; keep the rest until it does."""
        try:
            for at in range(0, len(data), _TURN_BYTES):
                if at:
                    self._flush()
                if self._closed:
                    return
                if self._stuck_since is not None:
                    self._kept += data[at:]
                    return
                self._reader.feed(data[at : at + _TURN_BYTES])
        except BrokenConnection as error:
            self.write(http2.go_away(self.last_stream, error.code))
            self.close()

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._stuck_since = self.front.loop.time()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._stuck_since = None
        if self._closed:
            return
        kept, self._kept = self._kept, b""
        self._take(kept)
        if self._stuck_since is None and not self._closed:
            self.transport.resume_reading()

    @property
    def idle_since(self) -> float | None:
        """Time when it was last heard of; None while streams are open."""
        return None if self.streams else self.heard

    def look(self, now: float) -> None:
        """End what takes too long."""
        self._idle_frames = max(0, self._idle_frames - _IDLE_FRAMES_PER_SECOND)
        begun = self._block is not None or self._reader.within_frame
        if (
            (self._stuck_since is not None and now - self._stuck_since > REQUEST_SECONDS)
            or (not self._configured and now - self._opened > GREETING_SECONDS)
            or ((begun or self._closed) and now - self.heard > GREETING_SECONDS)
        ):
            self.abort()
            return
        for stream in list(self.streams.values()):
            self.look_at(stream, now)

    def drain(self) -> None:
        """Take nothing new; close when what is under way is answered."""
        self.draining = True
        if self._configured:
            self.write(http2.go_away(self.last_stream, Code.NO_ERROR))
        if not self.streams:
            self.close()

    def abort(self) -> None:
        """Close at once."""
        self._closed = True
        self.transport.abort()

    def close(self) -> None:
        """Close when what was written is sent."""
        self._closed = True
        self._flush()
        self.transport.close()

    def write(self, frames: bytes) -> None:
        """Send frames, together with all others of this turn of the loop: a system call costs more than an answer."""
        if not self._out:
            self.front.loop.call_soon(self._flush)
        self._out.append(frames)

    def _flush(self) -> None:
        if self._out and not self.transport.is_closing():
            self.transport.write(b"".join(self._out))
        self._out = []

    def answered(self) -> None:
        """A stream was answered: its peer does honest work."""
        self._idle_frames = max(0, self._idle_frames - _IDLE_FRAMES_PER_ANSWER)
        if self.draining and not self.streams:
            self.close()

    def count_idle(self) -> None:
        """Count a frame that carries nothing."""
        self._idle_frames += 1
        if self._idle_frames > MOST_IDLE_FRAMES:
            raise BrokenConnection(Code.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    # --- frames ------------------------------------------------------------------------------------------------------
    def _greet(self, data: bytes) -> bytes:
        """Take the preface (3.4); return what came behind it."""
        if data.startswith(http2.PREFACE):
            self._greeting = None
            self.write(_OURS)
            return data[len(http2.PREFACE) :]
        self._greeting = data
        if not http2.PREFACE.startswith(data):
            if data.startswith(_METHODS):
                self.write(_HTTP1_ANSWER)
            self.close()
        return b""

    def data_begins(self, stream: int, size: int, last: bool) -> S | None:
        """Count a DATA frame against the windows (6.9), which are opened again at once."""
        if self._block is not None or not self._configured:
            raise BrokenConnection(Code.PROTOCOL_ERROR, "DATA where something else must come")
        self._known(stream)
        self._window -= size
        if self._window < CONNECTION_WINDOW // 2:
            self.write(http2.window_update(0, CONNECTION_WINDOW - self._window))
            self._window = CONNECTION_WINDOW
        found = self.streams.get(stream)
        if found is None:  # answered before it was whole, or reset
            if not size:
                self.count_idle()
            return None
        return self.stream_data_begins(found, size, last)

    def frame_comes(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Take any other frame."""
        if self._block is not None and (kind != http2.CONTINUATION or stream != self._block[0]):
            raise BrokenConnection(Code.PROTOCOL_ERROR, "a header block is not whole")
        if not self._configured and (kind != http2.SETTINGS or flags & http2.ACK):
            raise BrokenConnection(Code.PROTOCOL_ERROR, "SETTINGS must come first")
        if kind == http2.HEADERS:
            self._take_headers(flags, stream, payload)
            return
        self.count_idle()
        take, size = _TAKES.get(kind, (None, None))
        if size is not None and len(payload) != size:
            raise BrokenConnection(Code.FRAME_SIZE_ERROR, "a frame of a wrong size")
        if take is not None:  # PRIORITY and kinds that are not known mean nothing here
            take(self, flags, stream, payload)

    def _take_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream % 2:
            raise BrokenConnection(Code.PROTOCOL_ERROR, "HEADERS on a stream that is no client's")
        fragment = http2.header_fragment(flags, payload)
        last = bool(flags & http2.END_STREAM)
        if flags & http2.END_HEADERS:
            self.block_comes(stream, last, fragment)
        else:
            self._block = (stream, last, [fragment])

    def _take_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None:
            raise BrokenConnection(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, last, fragments = self._block
        fragments.append(payload)
        if len(fragments) > _MOST_FRAGMENTS or sum(map(len, fragments)) > MAX_HEADER_BYTES:
            raise BrokenConnection(Code.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & http2.END_HEADERS:
            self._block = None
            self.block_comes(stream, last, b"".join(fragments))

    def _take_reset(self, _: int, stream: int, _payload: bytes) -> None:
        self._known(stream)
        found = self.streams.get(stream)
        if found is not None:
            self.forget(found)
            if self.draining and not self.streams:
                self.close()

    def _take_settings(self, flags: int, stream: int, payload: bytes) -> None:
        _whole_connection(stream)
        if flags & http2.ACK:
            if payload:
                raise BrokenConnection(Code.FRAME_SIZE_ERROR, "an acknowledgement with content")
            return
        values = http2.read_settings(payload)
        self._configured = True
        self.write(_SETTINGS_ACK)
        before, self.first_window = self.first_window, values.get(http2.INITIAL_WINDOW_SIZE, self.first_window)
        if self.first_window != before:
            for one in list(self.streams.values()):
                self.open_window(one, self.first_window - before)

    def _take_ping(self, flags: int, stream: int, payload: bytes) -> None:
        _whole_connection(stream)
        if not flags & http2.ACK:
            self.write(http2.frame(http2.PING, http2.ACK, 0, payload))

    def _take_go_away(self, _: int, stream: int, payload: bytes) -> None:
        _whole_connection(stream)  # the peer closes when its calls are answered
        if len(payload) < 8:
            raise BrokenConnection(Code.FRAME_SIZE_ERROR, "a frame of a wrong size")

    def _take_window(self, _: int, stream: int, payload: bytes) -> None:
        more = int.from_bytes(payload, "big") & http2.LARGEST_WINDOW
        if stream:
            self._known(stream)
            found = self.streams.get(stream)
            if found is not None:
                self.open_window(found, more)
            return
        if not more:
            raise BrokenConnection(Code.PROTOCOL_ERROR, "a window opened by nothing")
        self.send_window += more
        if self.send_window > http2.LARGEST_WINDOW:
            raise BrokenConnection(Code.FLOW_CONTROL_ERROR, "a window beyond the largest")
        for one in list(self.streams.values()):
            self.go_on(one)

    def go_on(self, stream: S) -> None:
        """Send what the windows allow of an answer that waits for them."""
        raise NotImplementedError

    def _take_promise(self, _flags: int, _stream: int, _payload: bytes) -> None:
        raise BrokenConnection(Code.PROTOCOL_ERROR, "a client promises nothing")

    def _known(self, stream: int) -> None:
        """Refuse frames on streams that were never opened (5.1, idle)."""
        if not stream % 2 or stream > self.last_stream:
            raise BrokenConnection(Code.PROTOCOL_ERROR, "a frame on a stream that was never opened")


def _whole_connection(stream: int) -> None:
    if stream:
        raise BrokenConnection(Code.PROTOCOL_ERROR, "a frame of the connection on a stream")


# By kind of frame: what takes it, and the size that it must have.
_TAKES: Final[dict[int, tuple[Callable[[Http2Connection[Any], int, int, bytes], None] | None, int | None]]] = {
    http2.PRIORITY: (None, 5),
    http2.RST_STREAM: (Http2Connection._take_reset, 4),
    http2.SETTINGS: (Http2Connection._take_settings, None),
    http2.PUSH_PROMISE: (Http2Connection._take_promise, None),
    http2.PING: (Http2Connection._take_ping, 8),
    http2.GOAWAY: (Http2Connection._take_go_away, None),
    http2.WINDOW_UPDATE: (Http2Connection._take_window, 4),
    http2.CONTINUATION: (Http2Connection._take_continuation, None),
}
