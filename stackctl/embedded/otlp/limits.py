"""Limits on what one request may bring."""

import hmac
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from stackctl.embedded.otlp.signals import FORBIDDEN_HOST, INVALID, TOO_LARGE, UNAUTHENTICATED, Refused

# What SDKs and the Collector send by default is far below.
MAX_REQUEST_BYTES: Final = 64 * 1024**2
_GZIP_WINDOW: Final = 31  # zlib's way to say: gzip, largest window
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


def inflate(data: bytes, limit: int = MAX_REQUEST_BYTES) -> bytes:
    """Undo gzip, never making more than `limit` bytes (plus one) of it.

    Raises:
        Refused: the content is larger, or no gzip.
    """
    out, rest = bytearray(), data
    try:
        # A gzip file may consist of several members behind one another (RFC 1952).
        while rest:
            member = zlib.decompressobj(_GZIP_WINDOW)
            out += member.decompress(rest, limit + 1 - len(out))
            if len(out) > limit:
                raise too_large(limit)
            if not member.eof:
                raise Refused(INVALID, "the gzip body is cut short")
            rest = member.unused_data
    except zlib.error as error:
        raise Refused(INVALID, "the body is not valid gzip") from error
    return bytes(out)


def unzip(data: bytes, limit: int = MAX_REQUEST_BYTES) -> bytes:
    """Undo what gRPC calls deflate: zlib's format (RFC 1950); the same limit.

    Raises:
        Refused: the content is larger, or no such.
    """
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise Refused(INVALID, "the body is not valid deflate") from error
    if len(out) > limit:
        raise too_large(limit)
    if not stream.eof or stream.unused_data:
        raise Refused(INVALID, "the deflate body is cut short, or more than one")
    return out


def too_large(limit: int) -> Refused:
    """The refusal of an oversized request."""
    return Refused(TOO_LARGE, f"the request is larger than {limit // 1024**2} MiB; send smaller batches")


@dataclass(frozen=True)
class Guard:
    """Who may send: browsers of other sites may not (DNS rebinding), and beyond loopback a token is needed.

    Attributes:
        hosts: names, beside loopback's, by which the endpoint may be addressed.
        token: bearer token that must be shown; None on loopback.
    """

    hosts: frozenset[str] = frozenset()
    token: str | None = None

    def check(self, host: str | None, authorization: str | None) -> None:
        """Judge the Host and Authorization headers of a request.

        Raises:
            Refused: an unknown host, or not the token.
        """
        if self.token is not None:
            if not hmac.compare_digest((authorization or "").encode(), f"Bearer {self.token}".encode()):
                raise Refused(UNAUTHENTICATED, "a bearer token is needed; it lies in the stack's token file")
            return
        if host is not None and _without_port(host) not in _LOOPBACK | self.hosts:
            raise Refused(FORBIDDEN_HOST, "this host name is not served; use 127.0.0.1 or localhost")


def guard_of(host: str, token: str | None) -> Guard:
    """The guard of an endpoint that listens on `host`."""
    return Guard(frozenset({host}), token)


@lru_cache(maxsize=64)
def first_word(value: str) -> str:
    """A header's media type or coding: lower case, without parameters."""
    return value.split(";")[0].strip().lower()


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return name.lower() if separator and port.isdigit() else host.lower()
