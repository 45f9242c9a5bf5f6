"""Hostile HTTP/2: the frames of gRPC calls in any order, cut, changed, padded, doubled, or none at all."""

import random

from hpack import Encoder

from stackctl.embedded.otlp import http2
from stackctl.embedded.otlp.signals import Signal

HEADERS = (
    (":method", "POST"), (":scheme", "http"), (":path", f"/{Signal.TRACES.service}/Export"), (":authority", "a"),
    ("te", "trailers"), ("content-type", "application/grpc"), ("grpc-encoding", "gzip"), ("grpc-timeout", "1n"),
    (":path", "/"), ("Upper", "x"), ("connection", "close"), ("cookie", "a" * 3000), ("x-bin", "AAAA"), ("", ""),
)  # fmt: skip
NUMBERS = (0, 1, 2, 5, 7, 8, 127, 255, 16_384, 16_385, 65_535, 2**20, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_STREAMS = (0, 1, 1, 1, 3, 3, 5, 2, 2**31 - 1)


def conversation(chance: random.Random) -> bytes:
    """Return the bytes that one client sends."""
    encoder = Encoder()
    frames = [http2.settings({})] if chance.random() < 0.95 else []
    for number in range(chance.randint(0, 12)):
        frames += _call(chance, encoder, 2 * number + 1) if chance.random() < 0.5 else [_frame(chance, encoder)]
    if chance.random() < 0.2:
        chance.shuffle(frames)
    raw = bytearray(http2.PREFACE + b"".join(frames))
    for _ in range(chance.choice((0, 0, 1, 3, 20))):
        at = chance.randint(0, len(raw))
        raw[at : at + chance.choice((0, 1, 1, 4))] = chance.randbytes(chance.choice((0, 1, 1, 4)))
    return bytes(raw[: chance.randint(0, len(raw))] if chance.random() < 0.1 else raw)


def _call(chance: random.Random, encoder: Encoder, stream: int) -> list[bytes]:
    """A call that is mostly right, in several frames."""
    block = _block(chance, encoder, 0.05)
    body = bytes([chance.choice((0, 0, 0, 1, 9))]) + chance.choice((5, 5, *NUMBERS)).to_bytes(4, "big") + b"hello"
    cut, last = chance.randint(0, len(block)), chance.randint(0, len(body))
    return [
        http2.frame(http2.HEADERS, 0, stream, block[:cut]),
        http2.frame(http2.CONTINUATION, http2.END_HEADERS, stream, block[cut:]),
        http2.frame(http2.DATA, 0, stream, body[:last]),
        http2.frame(http2.DATA, http2.END_STREAM, stream, body[last:]),
    ]


def _block(chance: random.Random, encoder: Encoder, odd: float) -> bytes:
    headers = list(HEADERS[:6])
    if chance.random() < odd:
        headers = chance.sample(HEADERS, chance.randint(0, len(HEADERS)))
    return encoder.encode(headers, huffman=chance.random() < 0.5)


def _frame(chance: random.Random, encoder: Encoder) -> bytes:
    """A frame of any type, flags, stream and content."""
    kind, stream = chance.choice((*range(10), 0x42)), chance.choice(_STREAMS)
    content = chance.choice(
        (
            b"", chance.randbytes(chance.choice((1, 4, 5, 6, 8, 12, 400))), _block(chance, encoder, 0.5),
            chance.choice(NUMBERS).to_bytes(4, "big"), bytes(8), chance.randbytes(2) + bytes(4), b"\x20" * 50,
        )
    )  # fmt: skip
    made = http2.frame(kind, chance.choice((0, 0, 1, 4, 5, 8, 13, 32, 255)), stream, content)
    return made * 3000 if chance.random() < 0.01 else made
