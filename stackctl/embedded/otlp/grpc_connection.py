"""One connection of the OTLP/gRPC port: its streams, each a unary call.

Answers never touch HPACK's dynamic table, so they are constant bytes around a message.
"""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from stackctl.embedded.otlp import http2
from stackctl.embedded.otlp.frame_reader import Piece
from stackctl.embedded.otlp.front import REQUEST_SECONDS, Front
from stackctl.embedded.otlp.grpc_call import ANSWER_END, ANSWER_HEAD, SLOW, Inbox, Opening, framed, refusal
from stackctl.embedded.otlp.header_blocks import HeaderBlocks, Headers
from stackctl.embedded.otlp.http2 import Code
from stackctl.embedded.otlp.http2_connection import MOST_STREAMS, STREAM_WINDOW, Http2Connection
from stackctl.embedded.otlp.signals import FAILED, Refused

log = logging.getLogger("stackctl.ingest")

Export = Callable[[Opening, bytes, bool], Awaitable[bytes]]
_SLOW_SENDER: Final = refusal(Refused(SLOW, "the request did not come whole in time"))
_ONLY_HEADERS: Final = http2.END_HEADERS | http2.END_STREAM
# The three frames of an answer: their heads up to the stream's number, and DATA's as a format of its size.
_HEAD_START: Final = http2.frame(http2.HEADERS, http2.END_HEADERS, 0, ANSWER_HEAD)[:5]
_DATA_START: Final = struct.Struct(">BHBB")
_END_START: Final = http2.frame(http2.HEADERS, _ONLY_HEADERS, 0, ANSWER_END)[:5]


class Call:
    """One stream.

    Attributes:
        inbox: the request while it comes; None when it is whole.
        window: bytes that the peer may send of it.
        send_window: bytes of its answer that the peer takes.
        waiting: what of the answer's message the peer takes only later.
        task: makes the answer.
        over: nobody waits for it any more.
    """

    __slots__ = ("began", "id", "inbox", "opening", "over", "send_window", "task", "waiting", "window")

    def __init__(self, number: int, opening: Opening, inbox: Inbox, send_window: int, began: float) -> None:
        self.id, self.opening, self.began = number, opening, began
        self.inbox: Inbox | None = inbox
        self.window, self.send_window = STREAM_WINDOW, send_window
        self.waiting = b""
        self.task: asyncio.Task[None] | None = None
        self.over = False


class GrpcConnection(Http2Connection[Call]):
    """One connection.

    Args:
        front: the port that it belongs to.
        understand: what a header list asks for; called once for those that repeat.
        export: makes a call's answer of its message, which is compressed or not, or raises `Refused`.
    """

    def __init__(self, front: Front, understand: Callable[[Headers], Opening], export: Export) -> None:
        super().__init__(front)
        self._export = export
        self._blocks = HeaderBlocks(understand)

    def block_comes(self, stream: int, last: bool, block: bytes) -> None:
        """Begin a call, or take the trailers of one."""
        opening = self._blocks.read(block)
        call = self.streams.get(stream)
        if call is not None:
            self._take_trailers(call, last)
        elif stream <= self.last_stream:  # trailers of a call that was answered before they came, or reset
            self.count_idle()
        elif self.draining or len(self.streams) >= MOST_STREAMS:
            self.count_idle()
            self.last_stream = stream
            self.write(http2.reset(stream, Code.REFUSED_STREAM))
        else:
            self.last_stream = stream
            self._begin(stream, last, opening)

    def stream_data_begins(self, stream: Call, size: int, last: bool) -> Call | None:
        """Count a DATA frame against its call's window, which is opened again at once."""
        if stream.inbox is None:
            self._reset(stream, Code.STREAM_CLOSED)
            return None
        stream.window -= size
        if stream.window < STREAM_WINDOW // 2 and not last:
            self.write(http2.window_update(stream.id, STREAM_WINDOW - stream.window))
            stream.window = STREAM_WINDOW
        return stream

    def data_comes(self, stream: Call, piece: Piece, last: bool) -> None:
        """Take a piece of a request; have the whole one answered."""
        inbox = stream.inbox
        if inbox is None:  # it ended while a frame of it was under way
            return
        try:
            if piece:
                inbox.add(piece)
            elif not last:
                self.count_idle()
            if not last:
                return
            message, compressed = inbox.finish()
        except Refused as refused:
            self._refuse(stream, refusal(refused), last)
            return
        stream.inbox = None
        stream.task = self.front.loop.create_task(self._answer(stream, message, compressed))

    def open_window(self, stream: Call, by: int) -> None:
        """Let a call's answer go on."""
        if not by:
            self._reset(stream, Code.PROTOCOL_ERROR)
            return
        stream.send_window += by
        if stream.send_window > http2.LARGEST_WINDOW:
            self._reset(stream, Code.FLOW_CONTROL_ERROR)
            return
        self.go_on(stream)

    def go_on(self, stream: Call) -> None:
        """Send what the windows allow of an answer that waits for them."""
        while stream.waiting and (most := min(stream.send_window, self.send_window, http2.SMALLEST_FRAME_LIMIT)) > 0:
            piece, stream.waiting = stream.waiting[:most], stream.waiting[most:]
            stream.send_window -= len(piece)
            self.send_window -= len(piece)
            self.write(http2.frame(http2.DATA, 0, stream.id, piece))
            if not stream.waiting:
                self.write(http2.frame(http2.HEADERS, _ONLY_HEADERS, stream.id, ANSWER_END))
                self.forget(stream)
                self.answered()

    def forget(self, stream: Call) -> None:
        """Nobody waits for a call any more."""
        stream.over = True
        self.streams.pop(stream.id, None)
        if stream.inbox is not None:
            stream.inbox.drop()
            stream.inbox = None
        if stream.task is not None:
            stream.task.cancel()
            stream.task = None

    def look_at(self, stream: Call, now: float) -> None:
        """End a call whose request, or whose answer, takes too long on its way."""
        if now - stream.began <= REQUEST_SECONDS:
            return
        if stream.inbox is not None:
            self._refuse(stream, _SLOW_SENDER, False)
        elif stream.waiting:
            self._tell_reset(stream, Code.CANCEL)

    def _begin(self, number: int, last: bool, opening: Opening) -> None:
        call = Call(number, opening, Inbox(self.front.unfinished), self.first_window, self.heard)
        self.streams[number] = call
        if opening.refusal is not None:
            self._refuse(call, opening.refusal, last)
        elif opening.signal is None:
            self._reset(call, Code.PROTOCOL_ERROR)
        elif last:
            self.data_comes(call, b"", True)

    def _take_trailers(self, call: Call, last: bool) -> None:
        if call.inbox is None or not last:
            self._reset(call, Code.STREAM_CLOSED if call.inbox is None else Code.PROTOCOL_ERROR)
        else:
            self.data_comes(call, b"", True)

    async def _answer(self, call: Call, message: bytes, compressed: bool) -> None:
        try:
            answer = framed(await self._export(call.opening, message, compressed))
        except Refused as refused:
            self._refuse_whole(call, refused)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the sender must hear of it; others are served on
            log.error("a gRPC call failed: %s", type(error).__name__)
            self._refuse_whole(call, Refused(FAILED, "the server failed"))
        else:
            call.task = None
            if not call.over:
                self._send(call, answer)

    def _send(self, call: Call, answer: bytes) -> None:
        size = len(answer)
        if size > min(call.send_window, self.send_window, http2.SMALLEST_FRAME_LIMIT):
            call.waiting, call.began = answer, self.front.loop.time()
            self.write(http2.frame(http2.HEADERS, http2.END_HEADERS, call.id, ANSWER_HEAD))
            self.go_on(call)
            return
        self.send_window -= size
        number = call.id.to_bytes(4, "big")
        data = _DATA_START.pack(0, size, http2.DATA, 0)
        frames = (_HEAD_START, number, ANSWER_HEAD, data, number, answer, _END_START, number, ANSWER_END)
        self.write(b"".join(frames))
        self.forget(call)
        self.answered()

    def _refuse_whole(self, call: Call, refused: Refused) -> None:
        call.task = None  # this one: it must not be cancelled
        if not call.over:
            self._refuse(call, refusal(refused), True)

    def _refuse(self, call: Call, block: bytes, whole: bool) -> None:
        """Answer with trailers only; tell the sender to stop where its request is not whole (8.1)."""
        stop = b"" if whole else http2.reset(call.id, Code.NO_ERROR)
        self.write(http2.frame(http2.HEADERS, _ONLY_HEADERS, call.id, block) + stop)
        self.forget(call)
        self.answered()

    def _reset(self, call: Call, code: Code) -> None:
        """End a call whose sender broke the protocol on its stream only (5.4.2)."""
        self._tell_reset(call, code)
        self.count_idle()

    def _tell_reset(self, call: Call, code: Code) -> None:
        self.write(http2.reset(call.id, code))
        self.forget(call)
        if self.draining and not self.streams:
            self.close()


def connections(understand: Callable[[Headers], Opening], export: Export) -> Callable[[Front], GrpcConnection]:
    """What makes the connections of a port."""
    return lambda front: GrpcConnection(front, understand, export)
