"""gRPC over HTTP/2 (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): a call's head, body and end.

`grpc-timeout` is not read: a sender whose time is over resets its stream, and nobody waits any more.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from stackctl.embedded.otlp import answers
from stackctl.embedded.otlp.frame_reader import Piece
from stackctl.embedded.otlp.front import Unfinished
from stackctl.embedded.otlp.header_blocks import Headers, header_block
from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES, inflate, too_large, unzip
from stackctl.embedded.otlp.signals import INVALID, UNSUPPORTED, RefusalKind, Refused, Signal

CONTENT_TYPE: Final = b"application/grpc"
PREFIX_BYTES: Final = 5  # of a message: compressed or not, and its length
BROKEN: Final = RefusalKind(400, 13)  # INTERNAL, as gRPC has it for framing that makes no sense
SLOW: Final = RefusalKind(408, 4)  # DEADLINE_EXCEEDED

_TYPES: Final = frozenset({CONTENT_TYPE, CONTENT_TYPE + b"+proto"})
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_NEEDED: Final = (b":method", b":scheme", b":path")
# Headers of one HTTP/1 connection have no place here (RFC 9113, 8.2.2).
_OF_CONNECTIONS: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_SIGNALS: Final = {f"/{signal.service}/Export".encode(): signal for signal in Signal}
_IDENTITY: Final = b"identity"
_INFLATE: Final[dict[bytes, Callable[[bytes], bytes]]] = {b"gzip": inflate, b"deflate": unzip}
_ACCEPTED_CODINGS: Final = b"identity,gzip,deflate"

# What an accepted call is answered with, around its message.
ANSWER_HEAD: Final = header_block([(b":status", b"200"), (b"content-type", CONTENT_TYPE)])
ANSWER_END: Final = header_block([(b"grpc-status", b"0")])


@dataclass(frozen=True)
class Opening:
    """What a call's header list asks for.

    Attributes:
        signal: whose export is called; None where the call is not taken.
        inflate: undoes the coding of compressed messages; None where the call has none.
        refusal: header block of the only answer; None where the call is taken, or is no HTTP/2 request at all.
    """

    signal: Signal | None = None
    inflate: Callable[[bytes], bytes] | None = None
    refusal: bytes | None = None


def opening(headers: Headers, check: Callable[[str | None], None]) -> Opening:
    """Read a call's header list.

    Args:
        check: judges the authorization header, or raises `Refused`.
    """
    found = _fields(headers)
    if found is None:
        return Opening()
    if found[b":method"] != b"POST":
        return Opening(refusal=header_block([(b":status", b"405"), (b"allow", b"POST")]))
    if found.get(b"content-type", b"").split(b";")[0].strip().lower() not in _TYPES:
        return Opening(refusal=header_block([(b":status", b"415")]))
    signal = _SIGNALS.get(found[b":path"])
    if signal is None:
        return Opening(refusal=refusal(Refused(UNSUPPORTED, "this port serves OTLP's three Export methods")))
    coding = found.get(b"grpc-encoding", _IDENTITY).strip().lower()
    if coding != _IDENTITY and coding not in _INFLATE:
        more = ((b"grpc-accept-encoding", _ACCEPTED_CODINGS),)
        return Opening(refusal=refusal(Refused(UNSUPPORTED, "send gzip or no message encoding"), more))
    try:
        authorization = found.get(b"authorization")
        check(None if authorization is None else authorization.decode("latin-1"))
    except Refused as refused:
        return Opening(refusal=refusal(refused))
    return Opening(signal, _INFLATE.get(coding))


def _fields(headers: Headers) -> dict[bytes, bytes] | None:
    """The headers by name; None where they are malformed (RFC 9113, 8.2 and 8.3)."""
    found: dict[bytes, bytes] = {}
    plain = False
    for name, value in headers:
        pseudo = name.startswith(b":")
        if pseudo and (plain or name not in _PSEUDO or name in found):
            return None
        if not name or name != name.lower() or name in _OF_CONNECTIONS or any(bad in value for bad in b"\0\r\n"):
            return None
        if name == b"te" and value.lower() != b"trailers":
            return None
        plain = plain or not pseudo
        found.setdefault(name, value)
    return found if all(found.get(name) for name in _NEEDED) else None


class Inbox:
    """The one message of a call, while it comes.

    Args:
        unfinished: where its memory is counted.
        limit: bytes of the message.
    """

    __slots__ = ("_compressed", "_limit", "_parts", "_received", "_size", "_unfinished")

    def __init__(self, unfinished: Unfinished, limit: int = MAX_REQUEST_BYTES) -> None:
        self._unfinished, self._limit = unfinished, limit
        self._parts: list[bytes] = []
        self._received = 0
        self._compressed = False
        self._size = -1  # prefix and message, once the prefix is there

    def add(self, part: Piece) -> None:
        """Take the next bytes of the call's body; they are copied, once.

        Raises:
            Refused: they are no message, one too large, or a second one; or too many unfinished ones are held.
        """
        self._unfinished.hold(len(part))
        self._received += len(part)
        if self._size < 0:
            part = self._begin(part)
        self._parts.append(bytes(part))
        if 0 <= self._size < self._received:
            raise Refused(UNSUPPORTED, "an export call has one request message")

    def finish(self) -> tuple[bytes, bool]:
        """Give the message away, and whether it is compressed.

        Raises:
            Refused: there is none, or it is cut short.
        """
        if not self._received:
            raise Refused(UNSUPPORTED, "an export call has one request message")
        if self._received != self._size:
            raise Refused(INVALID, "the message is cut short")
        message = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self.drop()
        return message, self._compressed

    def drop(self) -> None:
        """Hold nothing any more."""
        self._unfinished.release(self._received)
        self._parts, self._received = [], 0

    def _begin(self, part: Piece) -> Piece:
        """Take a message's prefix off what has come, where it is whole."""
        if self._parts:
            part, self._parts = b"".join((*self._parts, part)), []
        if len(part) < PREFIX_BYTES:
            return part
        if part[0] > 1:
            raise Refused(BROKEN, "a message is either compressed or not")
        size = int.from_bytes(part[1:PREFIX_BYTES], "big")
        if size > self._limit:
            raise too_large(self._limit)
        self._size = PREFIX_BYTES + size
        self._compressed = part[0] == 1
        return part[PREFIX_BYTES:]


def plain_message(message: bytes, opened: Opening) -> bytes:
    """Undo the coding of a compressed message.

    Raises:
        Refused: it has none, does not decode, or is too large.
    """
    if opened.inflate is None:
        raise Refused(BROKEN, "a message is compressed, but its call names no encoding")
    return opened.inflate(message)


def framed(message: bytes) -> bytes:
    """A message with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


@lru_cache(maxsize=32)
def _trailers(kind: RefusalKind, message: str) -> tuple[tuple[bytes, bytes], ...]:
    found = [
        (b"grpc-status", str(kind.grpc).encode()),
        (b"grpc-message", quote(message, safe=" !#$&'()*+,/:;=?@").encode()),
    ]
    # Binary values are base64, best without padding.
    found += [
        (key.encode(), base64.b64encode(value).rstrip(b"="))
        for key, value in answers.retry_metadata(Refused(kind, message))
    ]
    return tuple(found)


def refusal(refused: Refused, more: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """The header block of an answer that is only trailers."""
    head = [(b":status", b"200"), (b"content-type", CONTENT_TYPE)]
    return header_block([*head, *_trailers(refused.kind, refused.message), *more])
