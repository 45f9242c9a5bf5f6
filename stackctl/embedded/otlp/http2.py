"""HTTP/2 frames (RFC 9113, sections 4 and 6): their numbers, and the bytes of those that are sent.

Both ends use it: the server of OTLP/gRPC, and the load generator that measures it.
"""

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Length in two parts (8 and 16 bits), type, flags, stream. The stream's highest bit is reserved.
HEAD: Final = struct.Struct(">BHBBL")
HEAD_BYTES: Final = 9
STREAM_MASK: Final = 0x7FFF_FFFF
LARGEST_WINDOW: Final = 0x7FFF_FFFF
FIRST_WINDOW: Final = 65_535  # of a connection, and of streams until SETTINGS say otherwise
SMALLEST_FRAME_LIMIT: Final = 16_384
LARGEST_FRAME_LIMIT: Final = 0xFF_FFFF

# Frame types; plain numbers, since every frame that comes is compared with them.
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags.
ACK: Final = 1
END_STREAM: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
HAS_PRIORITY: Final = 32

# Settings (6.5.2).
HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6


class Code(IntEnum):
    """Error codes (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11


class BrokenConnection(Exception):
    """The peer broke the protocol in a way that ends the connection (5.4.1).

    Args:
        code: what GOAWAY says.
        why: one phrase, without anything of what was sent.
    """

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return frame_head(kind, flags, stream, len(payload)) + payload


def frame_head(kind: int, flags: int, stream: int, size: int) -> bytes:
    """Return the head of a frame whose payload has `size` bytes."""
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", key, value) for key, value in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def reset(stream: int, code: Code) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def go_away(last_stream: int, code: Code) -> bytes:
    """Return a GOAWAY frame.

    Args:
        last_stream: the highest stream that was, or may have been, worked on.
    """
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last_stream, code))


def unpadded(flags: int, payload: bytes) -> bytes:
    """The content of a padded or unpadded payload.

    Raises:
        BrokenConnection: the padding is longer than the payload (6.1, 6.2).
    """
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise BrokenConnection(Code.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]


def header_fragment(flags: int, payload: bytes) -> bytes:
    """The part of a header block in a HEADERS frame; its priority is deprecated and passed over (5.3.2).

    Raises:
        BrokenConnection: it is too short for what its flags say.
    """
    content = unpadded(flags, payload)
    if not flags & HAS_PRIORITY:
        return content
    if len(content) < 5:
        raise BrokenConnection(Code.FRAME_SIZE_ERROR, "HEADERS too short for a priority")
    return content[5:]


def read_settings(payload: bytes) -> dict[int, int]:
    """The values of a SETTINGS frame that is no acknowledgement.

    Raises:
        BrokenConnection: a size or value that is not allowed (6.5, 6.5.2).
    """
    if len(payload) % 6:
        raise BrokenConnection(Code.FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
    values: dict[int, int] = dict(struct.iter_unpack(">HL", payload))
    if values.get(ENABLE_PUSH, 0) > 1:
        raise BrokenConnection(Code.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
    if values.get(INITIAL_WINDOW_SIZE, 0) > LARGEST_WINDOW:
        raise BrokenConnection(Code.FLOW_CONTROL_ERROR, "an initial window beyond the largest")
    if not SMALLEST_FRAME_LIMIT <= values.get(MAX_FRAME_SIZE, SMALLEST_FRAME_LIMIT) <= LARGEST_FRAME_LIMIT:
        raise BrokenConnection(Code.PROTOCOL_ERROR, "a frame size that is not allowed")
    return values
