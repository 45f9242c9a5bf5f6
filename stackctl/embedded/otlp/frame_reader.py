"""Takes the bytes of an HTTP/2 connection apart, wherever they were cut: DATA as it comes, other frames whole."""

from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from stackctl.embedded.otlp.http2 import (
    CONTINUATION,
    DATA,
    END_STREAM,
    HEAD,
    HEAD_BYTES,
    PADDED,
    STREAM_MASK,
    BrokenConnection,
    Code,
)

S = TypeVar("S")
Piece: TypeAlias = bytes | memoryview

# No frame but DATA needs more: a header block may have no more in all.
_MOST_CONTROL_BYTES: Final = 16 * 1024


class Receiver(Protocol[S]):
    """What frames are given to; each method may raise `BrokenConnection`."""

    def data_begins(self, stream: int, size: int, last: bool) -> S | None:
        """A DATA frame begins.

        Args:
            size: of its payload, padding included: what flow control counts.
            last: the stream ends with it.

        Returns:
            Whose data it is; None where nobody wants it.
        """

    def data_comes(self, stream: S, piece: Piece, last: bool) -> None:
        """Some of a DATA frame's content, to be copied where it is kept; `last` where the stream ends behind it."""

    def frame_comes(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """A whole frame that is no DATA; of an unknown kind without its payload."""


class FrameReader(Generic[S]):
    """Holds no more of a connection than a piece of one small frame.

    Args:
        receiver: is given what comes.
        largest: payload bytes of the largest frame that the peer may send.
    """

    def __init__(self, receiver: Receiver[S], largest: int) -> None:
        self._receiver, self._largest = receiver, largest
        self._rest = b""
        # Of the DATA frame that is under way: content that is still to come, bytes to pass over, its owner, its flag.
        self._left = self._skip = 0
        self._owner: S | None = None
        self._last = False

    @property
    def within_frame(self) -> bool:
        """Whether a frame was begun and is not whole."""
        return bool(self._rest or self._left or self._skip)

    def feed(self, data: Piece) -> None:
        """Take what came.

        Args:
            data: of a view, nothing is kept but copies.

        Raises:
            BrokenConnection: it is against the protocol.
        """
        if self._rest:
            data, self._rest = b"".join((self._rest, data)), b""
        at, end = 0, len(data)
        while at < end:
            if self._left or self._skip:
                at = self._go_on(data, at, end)
                continue
            if end - at < HEAD_BYTES:
                break
            high, low, kind, flags, stream = HEAD.unpack_from(data, at)
            size = high << 16 | low
            content = at + HEAD_BYTES
            if kind == DATA:
                if flags & PADDED and content == end:
                    break
                at = self._begin(flags, stream & STREAM_MASK, size, data, content)
            elif kind > CONTINUATION:
                self._pass_over(kind, size)
                at = content
            else:
                if size > _MOST_CONTROL_BYTES:
                    raise BrokenConnection(Code.FRAME_SIZE_ERROR, "a frame larger than allowed")
                if content + size > end:
                    break
                at = content + size
                self._receiver.frame_comes(kind, flags, stream & STREAM_MASK, bytes(data[content:at]))
        self._rest = bytes(data[at:])

    def _begin(self, flags: int, stream: int, size: int, data: Piece, at: int) -> int:
        """Begin a DATA frame whose payload is at `at`; return where its content is."""
        if size > self._largest:
            raise BrokenConnection(Code.FRAME_SIZE_ERROR, "a frame larger than allowed")
        content, skip = size, 0
        if flags & PADDED:
            skip = data[at] if size else 0
            content, at = size - 1 - skip, at + 1
            if content < 0:
                raise BrokenConnection(Code.PROTOCOL_ERROR, "padding longer than its frame")
        self._last = bool(flags & END_STREAM)
        self._owner = self._receiver.data_begins(stream, size, self._last)
        self._left, self._skip = content, skip
        if not content and self._owner is not None:
            self._receiver.data_comes(self._owner, b"", self._last)
        return at

    def _go_on(self, data: Piece, at: int, end: int) -> int:
        """Go on with the DATA frame that is under way; return where it was left."""
        if not self._left:
            stop = min(at + self._skip, end)
            self._skip -= stop - at
            return stop
        stop = min(at + self._left, end)
        self._left -= stop - at
        if self._owner is not None:
            self._receiver.data_comes(self._owner, data[at:stop], self._last and not self._left)
        return stop

    def _pass_over(self, kind: int, size: int) -> None:
        """Ignore a frame of an unknown type (4.1, 5.5)."""
        if size > self._largest:
            raise BrokenConnection(Code.FRAME_SIZE_ERROR, "a frame larger than allowed")
        self._receiver.frame_comes(kind, 0, 0, b"")
        self._skip = size
